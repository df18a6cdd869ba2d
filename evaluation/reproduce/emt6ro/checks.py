"""The printed numbers of the EMT6/Ro source beside ours.

A mean of simulations is compared within four standard errors of the difference, published and ours
together, and the systematic allowance of the fidelity; the notes give both parts.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from oncogym.evaluation.reproduce.checks import Check, compare
from oncogym.evaluation.reproduce.emt6ro.counting import (
    count_distributions,
    count_on_grid,
    count_waits,
)
from oncogym.evaluation.reproduce.emt6ro.sample_statistics import (
    Density,
    correlation,
    density,
    equality,
    mean_course,
    normal_interval,
    normality,
    sub_modules,
    weighted_line,
)
from oncogym.evaluation.reproduce.emt6ro.study import (
    ALLOWANCE,
    COMPARED,
    SHARE_ALLOWANCE,
    Sample,
    Study,
)
from oncogym.evaluation.reproduce.emt6ro.tables import (
    CEILING,
    CEILING_ENDS,
    COURSE,
    GAINS,
    LIBRARY_SD,
    LIBRARY_SITES,
    NORMALITY_P,
    PEAK,
    PROTOCOLS,
    PUBLISHED_RUNS,
    SIGNIFICANT,
    find_protocol,
)

#: Standard errors that a difference may have: 1 of 16 000 sound comparisons exceeds them.
ERRORS = 4.0
# What is read off the density of sub-modules: its grid, and how far its peak may lie from the
# source's, which has 70 protocols to ours of 16: one step of doses, two slots.
_DENSITY_DOSES = np.linspace(0.0, 5.0, 201)
_DENSITY_WAITS = np.linspace(0.0, 80.0, 321)
_DOSE_STEP, _TWO_SLOTS = 0.25, 1.0
# Phases whose shares are compared in time. G2 and M count as one: a dose releases the cells that it
# meets at the start of G2, all at once, and two hours later, at an hour of the record, they pass on
# to M; a macro-step sooner or later then counts as a difference of the whole group.
_PHASES = ("G1", "S", "G2 and M")


def all_checks(study: Study) -> list[Check]:
    """All checks; those of the fidelity against the exact law only if the study has them."""
    found = [
        *search_spaces(),
        *modules(),
        *fitness(study),
        *pooled(study),
        *gains(study),
        *significance(study),
        *hand_crafted(study),
        *courses(study),
        *normal(study),
    ]
    return found + ([*fidelity(study), *time_courses(study)] if study.equality_each else [])


def search_spaces() -> list[Check]:
    """Numbers of feasible protocols, counted exactly."""
    benchmark = (
        "exactly {doses} doses, the first at 0, {waits} waits of {low:g} to {high:g} h, the last "
        "dose within the 240 slots, counted: {count:,}; fewer doses are not counted, with them it "
        "would be {more:.3g}"
    )
    found = []
    for name, doses, first, published, rounding in (
        ("BMI", 8, 8, 3.0e11, 0.05e11),
        ("BMII", 5, 20, 4.1e6, 0.05e6),
    ):
        waits = range(first, first + 45)
        count = count_waits(doses, waits, 239)
        more = sum(count_waits(k, waits, 239) for k in range(1, doses + 1))
        note = benchmark.format(doses=doses, waits=len(waits), low=first / 2.0,
                                high=waits[-1] / 2.0, count=count, more=more)  # fmt: skip
        title = f"feasible protocols, {name}"
        found.append(compare(f"space_{name}", title, published, count, rounding, note))
    count = count_distributions(20, 40, 20)
    grid = count_on_grid(240, 12, 40, 20)
    found.append(
        compare(
            "space_multi",
            "feasible protocols, doses to 5 Gy",
            1.39e15,
            count,
            0.01e15,
            f"10 Gy in quarters on 20 slots, counted: {count:,}; the source cuts it off and says "
            f"at least; on the grid of half an hour, 6 h apart, to 10 Gy: {grid:.3g}",
            valid=count >= 1.39e15,
        )
    )
    return found


def best_found() -> Density:
    """Density of the sub-modules of the printed protocols that the source found."""
    protocols = [row.protocol for row in PROTOCOLS if row.group == "found"]
    return density(sub_modules(protocols), _DENSITY_DOSES, _DENSITY_WAITS)


def modules() -> list[Check]:
    """Where sub-modules of good protocols are most frequent."""
    dose, wait = best_found().peak
    note = (
        f"the 93 sub-modules of the 16 printed protocols, Scott's bandwidth: {dose:.2f} Gy after "
        f"{wait:.1f} h; the source pools 70 protocols, of which it prints these; its second peak, "
        "0.7 Gy after 0.5 h, comes from others"
    )
    return [
        compare("peak_dose", "most frequent sub-module: dose [Gy]", PEAK[0], dose, _DOSE_STEP,
                note),
        compare("peak_wait", "most frequent sub-module: wait [h]", PEAK[1], wait, _TWO_SLOTS,
                note),
    ]  # fmt: skip


def _published(name: str) -> Sample:
    row = find_protocol(name)
    return Sample(row.mean, row.sd, PUBLISHED_RUNS)


def fitness(study: Study) -> list[Check]:
    """Mean fitness of the 28 protocols of tables 1 to 4."""
    found = []
    for row in PROTOCOLS:
        ours, printed = study.fitness[row.name], _published(row.name)
        error = math.hypot(ours.error, printed.error)
        z = (ours.mean - row.mean) / error
        interval = normal_interval(ours.mean, ours.error)
        p = _welch(ours, printed)
        note = (
            f"{ours.count} runs, 95 % interval [{interval.low:.1f}, {interval.high:.1f}], sd "
            f"{ours.sd:.1f} (printed {row.sd:g}); z = {z:+.2f}, p = {p:.2g}; tolerance "
            f"{ERRORS:g} x {error:.2f} + {study.allowance:g}"
        )
        tolerance = ERRORS * error + study.allowance
        found.append(compare(f"fitness_{row.name}", f"{row.name}: fitness [sites]", row.mean,
                             ours.mean, tolerance, note))  # fmt: skip
    return found


def _welch(first: Sample, second: Sample) -> float:
    """Two-sided p-value of equal means."""
    return float(
        stats.ttest_ind_from_stats(
            first.mean, first.sd, first.count, second.mean, second.sd, second.count,
            equal_var=False,
        ).pvalue
    )  # fmt: skip


def pooled(study: Study) -> list[Check]:
    """All protocols together: offset, slope, correlation and scatter."""
    ours = [study.fitness[row.name] for row in PROTOCOLS]
    printed = [_published(row.name) for row in PROTOCOLS]
    x = np.array([one.mean for one in printed])
    y = np.array([one.mean for one in ours])
    errors = np.array([math.hypot(a.error, b.error) for a, b in zip(ours, printed, strict=True)])
    line = weighted_line(x, y, errors)
    rms = math.sqrt(float((((y - x) / errors) ** 2).mean()))
    offset = normal_interval(line.offset, line.offset_error)
    span = float(np.ptp(x))
    # Noise of this variance lowers a correlation of 1 by half of it over that of the means.
    noise = float((errors**2).mean()) + study.allowance**2
    ratio = np.log([a.sd / b.sd for a, b in zip(ours, printed, strict=True)])
    sd_error = math.sqrt(0.5 / ours[0].count / len(ours))
    return [
        compare(
            "pooled_offset", "fitness: ours - printed, pooled [sites]", 0.0, line.offset,
            ERRORS * line.offset_error + study.allowance,
            f"weighted mean, 95 % interval [{offset.low:+.2f}, {offset.high:+.2f}]; rms z over the "
            f"{len(x)} protocols {rms:.2f}",
        ),
        compare(
            "pooled_slope", "fitness: slope of ours on printed", 1.0, line.slope,
            ERRORS * line.slope_error + 2.0 * study.allowance / span,
            f"weighted, standard error {line.slope_error:.3f}; tolerance {ERRORS:g} of them and "
            f"the allowance at either end of {span:.0f} sites",
        ),
        compare(
            "pooled_correlation", "fitness: correlation", 1.0, correlation(x, y),
            2.0 * noise / float(x.var()),
            "tolerance: four times the loss that standard errors and allowance explain",
        ),
        compare(
            "pooled_sd", "fitness: sd of runs, ours / printed", 1.0, math.exp(float(ratio.mean())),
            ERRORS * sd_error + 0.05,
            f"geometric mean, standard error {sd_error:.3f}; tolerance {ERRORS:g} of them and 5 %",
        ),
    ]  # fmt: skip


def _sites_and_error(sample: Sample) -> tuple[float, float]:
    return 1500.0 - sample.mean, sample.error


def gains(study: Study) -> list[Check]:
    """Gains in tumour suppression, (n_ref - n) / n_ref with n = 1500 - fitness, in per cent."""
    found = []
    for name, reference, printed in GAINS:
        values, variances = [], []
        for source in (study.fitness.__getitem__, _published):
            n, error = _sites_and_error(source(name))
            n_ref, error_ref = _sites_and_error(source(reference))
            values.append(100.0 * (n_ref - n) / n_ref)
            variances.append((100.0 / n_ref) ** 2 * (error**2 + (n / n_ref * error_ref) ** 2))
        error = math.sqrt(sum(variances))
        systematic = 100.0 * study.allowance / (1500.0 - _published(reference).mean)
        note = (
            f"the printed means give {values[1]:.2f} %; tolerance {ERRORS:g} x {error:.2f} + "
            f"{systematic:.2f} for {study.allowance:g} sites + 0.05 for rounding"
        )
        found.append(
            compare(
                f"gain_{name}_{reference}", f"{name} over {reference}: suppression gained [%]",
                printed, values[0], ERRORS * error + systematic + 0.05, note,
            )
        )  # fmt: skip
    return found


def significance(study: Study) -> list[Check]:
    """Protocols that the source marks as better than their benchmark, from 1000 runs, p < 0.001."""
    found = []
    for name, reference in SIGNIFICANT:
        ours, other = study.fitness[name], study.fitness[reference]
        two_sided = _welch(ours, other)
        p = 0.5 * two_sided if ours.mean > other.mean else 1.0 - 0.5 * two_sided
        note = (
            f"marked with p < 0.001 of 1000 runs; ours: {ours.count} runs each, one-sided p = "
            f"{p:.2g}, which must be below 0.05 (100 runs suffice); "
        )
        found.append(
            _contrast(
                study, f"better_{name}", f"{name} - {reference}: fitness [sites]",
                {name: 1.0, reference: -1.0}, note, valid=p < 0.05,
            )
        )  # fmt: skip
    return found


def hand_crafted(study: Study) -> list[Check]:
    """Hand-crafted protocols against the benchmarks, and against what a search is expected of."""
    found = []
    for name in ("HC1", "HC2", "HC3", "HC4"):
        for reference in ("BMI", "BMII"):
            found.append(
                _contrast(
                    study, f"{name}_{reference}", f"{name} - {reference}: fitness [sites]",
                    {name: 1.0, reference: -1.0},
                )
            )  # fmt: skip
    (low, low_dose), (high, high_dose) = CEILING_ENDS
    share = (PEAK[0] - low_dose) / (high_dose - low_dose)
    note = (
        f"the source expects {CEILING} of searches to 1.4 Gy, by interpolation between {low} and "
        f"{high}; "
    )
    weights = {"HC4": 1.0, low: share - 1.0, high: -share}
    title = "HC4 - interpolated ceiling: fitness [sites]"
    return [*found, _contrast(study, "HC4_ceiling", title, weights, note)]


def _contrast(
    study: Study,
    name: str,
    title: str,
    weights: dict[str, float],
    note: str = "",
    *,
    valid: bool = True,
) -> Check:
    """A weighted sum of mean fitnesses beside the same sum of the printed ones."""
    ours = {key: study.fitness[key] for key in weights}
    printed = {key: _published(key) for key in weights}
    values, variance = [], 0.0
    for samples in (ours, printed):
        values.append(sum(w * samples[key].mean for key, w in weights.items()))
        variance += sum((w * samples[key].error) ** 2 for key, w in weights.items())
    error = math.sqrt(variance)
    own = normal_interval(
        values[0], math.sqrt(sum((w * ours[key].error) ** 2 for key, w in weights.items()))
    )
    note += (
        f"95 % interval [{own.low:+.1f}, {own.high:+.1f}]; tolerance {ERRORS:g} x {error:.2f} + "
        f"{study.allowance:g}"
    )
    tolerance = ERRORS * error + study.allowance
    return compare(name, title, values[1], values[0], tolerance, note, valid=valid)


def courses(study: Study) -> list[Check]:
    """The tumours at the start, and the published course of 8 x 1.25 Gy every 17 h."""
    start = np.array([tumour.sites for tumour in study.tumours], np.float64)
    count = len(start)
    spread = float(start.std(ddof=1)) if count > 1 else LIBRARY_SD
    error = math.hypot(spread / math.sqrt(count), LIBRARY_SD / math.sqrt(10.0))
    found = [
        compare(
            "library_sites", "sites at the start of treatment", LIBRARY_SITES,
            float(start.mean()), ERRORS * error,
            f"not printed; counted in the source's ten files; ours: {count} tumours, sd "
            f"{spread:.1f}; tolerance {ERRORS:g} x {error:.2f}",
        )
    ]  # fmt: skip
    sites = study.course
    for number, (hour, printed, sd) in enumerate(COURSE):
        if not hour or (hour % 24 and hour != COURSE[-1][0]):
            continue
        by_tumour = sites[:, :, number].mean(axis=1)
        within = Sample.of(sites[:, :, number]).error
        between = float(by_tumour.std(ddof=1)) / math.sqrt(count) if count > 1 else within
        ours = max(within, between)
        # The source's ten tumours are a sample as ours are.
        error = math.sqrt(ours**2 + between**2 + sd**2 / PUBLISHED_RUNS)
        found.append(
            compare(
                f"b1_{hour}h", f"8 x 1.25 Gy, 17 h: sites after {hour} h", printed,
                float(by_tumour.mean()), ERRORS * error + study.allowance,
                f"not printed; measured with the source's program; tumours of both libraries as "
                f"samples, standard error {error:.2f}; tolerance {ERRORS:g} of them + "
                f"{study.allowance:g}",
            )
        )  # fmt: skip
    return found


def normal(study: Study) -> list[Check]:
    """Whether outcomes of one protocol on one tumour are normally distributed."""
    sites = study.normality_sites
    p = normality(sites)
    limit = 0.05
    note = (
        f"Kolmogorov-Smirnov, {sites.size} runs of one random protocol on one tumour, moments of "
        f"the sample; mean {sites.mean():.1f}, sd {sites.std(ddof=1):.1f}, skewness "
        f"{stats.skew(sites):+.3f}; the source's has another protocol; holds from p = {limit}"
    )
    return [Check("normality", "final sites are normal: p-value", NORMALITY_P, p,
                  NORMALITY_P - limit, p >= limit, note)]  # fmt: skip


def fidelity(study: Study) -> list[Check]:
    """The study's fidelity against the exact law on random protocols, as the source's figure 3."""
    ours, exact = study.equality_sites
    result = equality(ours, exact)
    protocols, runs = ours.shape
    name = f"{study.fidelity} - exact"
    shared = f"{protocols} random protocols, {runs} runs each and fidelity"
    share = 0.05
    reach = ERRORS * math.sqrt(share * (1.0 - share) / protocols)
    distance, p = result.uniformity
    # Exceeded by one in a thousand samples of a uniform law.
    critical = float(stats.kstwo.ppf(0.999, protocols))
    ratio_error = (result.sd_ratio.high - result.sd_ratio.low) / 3.92
    bias_limit = ERRORS * result.bias_error + ALLOWANCE[study.fidelity]
    rows = [
        compare("equality_bias", f"{name}: mean difference [sites]", 0.0, result.bias.estimate,
                bias_limit, f"{shared}; with 95 % interval {result.bias:+.2f}"),
        compare("equality_t", f"{name}: t-tests with p < 0.05", share,
                float((result.t_p < 0.05).mean()), reach,
                f"share of protocols; {shared}; smallest p {result.t_p.min():.2g}; tolerance "
                f"{ERRORS:g} binomial standard errors"),
        compare("equality_ks", f"{name}: KS-tests with p < 0.05", share,
                float((result.ks_p < 0.05).mean()), reach,
                f"share of protocols; {shared}; smallest p {result.ks_p.min():.2g}"),
        compare("equality_uniform", f"{name}: KS p-values, distance from uniform", 0.0, distance,
                critical, f"p = {p:.2g}; tolerance: exceeded by one of 1000 uniform samples"),
        compare("equality_sd", f"{name}: ratio of sd", 1.0, result.sd_ratio.estimate,
                ERRORS * ratio_error + 0.05,
                f"geometric mean with 95 % interval {result.sd_ratio:.3f}"),
        compare("equality_correlation", f"{name}: correlation of means", 1.0, result.correlation,
                _loss(ours, exact), "tolerance: four times the loss that standard errors explain"),
    ]  # fmt: skip
    return rows


def _loss(ours: np.ndarray, exact: np.ndarray) -> float:
    noise = float(np.mean(ours.var(axis=1, ddof=1) / ours.shape[1])
                  + np.mean(exact.var(axis=1, ddof=1) / exact.shape[1]))  # fmt: skip
    return 2.0 * noise / float(exact.mean(axis=1).var())


def time_courses(study: Study) -> list[Check]:
    """Hourly courses of the study's fidelity against those of the exact law, on the same tumours.

    Of the hours, and of the phases, the one is reported whose difference is largest for its
    tolerance: a check holds if the courses agree at every hour.
    """
    found = []
    # Both have the same tumours: what the exact law is allowed for its library is not at stake.
    sites_allowance = ALLOWANCE[study.fidelity] - ALLOWANCE["exact"]
    for (name, protocol), fast, slow in zip(COMPARED.items(), *study.compared_courses, strict=True):
        ours, exact = (mean_course(_merged(x)) for x in (fast, slow))
        title = f"{study.fidelity} - exact, {protocol.name}"
        runs = f"{fast.shape[0] * fast.shape[1]} runs each on the same {fast.shape[0]} tumours"
        gap = ours.sites - exact.sites
        error = np.hypot(ours.sites_error, exact.sites_error)
        hour, tolerance = _worst(gap, error, sites_allowance)
        z = gap[error > 0.0] / error[error > 0.0]
        found.append(
            compare(
                f"course_{name}_sites", f"{title}: largest difference [sites]", 0.0, gap[hour],
                tolerance,
                f"after {hour} h, of {len(gap)} hours; {runs}; rms z {_rms(z):.2f}, largest "
                f"{np.abs(z).max(initial=0.0):.2f}; tolerance {ERRORS:g} x {error[hour]:.2f} + "
                f"{sites_allowance:g}",
            )
        )  # fmt: skip
        error_of_burden = math.hypot(ours.burden_error, exact.burden_error)
        difference = normal_interval(ours.burden - exact.burden, error_of_burden)
        found.append(
            compare(
                f"course_{name}_mean", f"{title}: mean over ten days [sites]", 0.0,
                difference.estimate, ERRORS * error_of_burden + sites_allowance,
                f"exact {exact.burden:.1f}; {runs}; 95 % interval [{difference.low:+.1f}, "
                f"{difference.high:+.1f}]; tolerance {ERRORS:g} x {error_of_burden:.2f} + "
                f"{sites_allowance:g}",
            )
        )  # fmt: skip
        shares = ours.shares - exact.shares
        errors = np.hypot(ours.shares_error, exact.shares_error)
        flat, tolerance = _worst(shares.ravel(), errors.ravel(), SHARE_ALLOWANCE)
        hour, phase = divmod(flat, shares.shape[1])
        each = ", ".join(
            f"{label} {_rms(part):.4f}" for label, part in zip(_PHASES, shares.T, strict=True)
        )
        found.append(
            compare(
                f"course_{name}_phases", f"{title}: largest difference of a phase's share", 0.0,
                shares[hour, phase], tolerance,
                f"{_PHASES[phase]} after {hour} h; {runs}; rms over the hours: "
                f"{each}; tolerance {ERRORS:g} x {errors[hour, phase]:.4f} + {SHARE_ALLOWANCE:g}",
            )
        )  # fmt: skip
    return found


def _merged(courses: np.ndarray) -> np.ndarray:
    """Courses ``(…, 5)`` of sites and four phases with the last two phases as one."""
    return np.concatenate((courses[..., :3], courses[..., 3:].sum(axis=-1, keepdims=True)), axis=-1)


def _worst(gap: np.ndarray, error: np.ndarray, allowance: float) -> tuple[int, float]:
    """Where a difference is largest for its tolerance, and that tolerance."""
    tolerance = ERRORS * error + allowance
    place = int((np.abs(gap) / np.maximum(tolerance, 1e-12)).argmax())
    return place, float(tolerance[place])


def _rms(values: np.ndarray) -> float:
    return math.sqrt(float((values**2).mean())) if values.size else 0.0
