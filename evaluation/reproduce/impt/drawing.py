"""The six panels of the proton-planning tutorial, for any plan, and DVH bands over scenarios."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, Patch
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.mplot3d import Axes3D
from numpy.typing import ArrayLike, NDArray

from oncogym.core.arrays import Floats
from oncogym.envs.impt_beam_weighting import (
    BeamSet,
    DoseInfluence,
    Phantom,
    PublishedModel,
    StructureSet,
    dose_statistics,
    dvh,
)
from oncogym.envs.impt_beam_weighting.planning import bragg
from oncogym.envs.impt_beam_weighting.planning.beams import ANGLES, directions, trace

# Okabe and Ito's colours: the target, organs in turn, the body.
_TARGET = "#009E73"
_ORGANS = ("#D55E00", "#E69F00", "#CC79A7", "#56B4E9", "#8C6D31", "#0072B2")
_BODY = "#555555"
_BEAMS = ("#0072B2", "#CC79A7", "#56B4E9", "#8C6D31", "#000000", "#999999")
# Isodose lines as shares of the prescription, with colours that stand out on the dose.
_ISODOSES = ((0.3, "#9ECAE1"), (0.5, "#FFFFFF"), (0.9, "#FDE725"), (1.0, "#D7301F"))
_DOSE = matplotlib.colormaps["inferno"]
_POINTS = 400
# Steps of an outline along the edge of a voxel.
_FINE = 8


@dataclass(frozen=True)
class Layout:
    """Where the spots of a plan lie on their beams, for the panels that show beams.

    Attributes:
        angles: Angle of each beam ``(beams,)`` [degrees].
        isocentre: Point through which all beams go ``(2,)`` [cm].
        beam_layers: First layer of each beam, and their number ``(beams + 1,)``.
        spot_layer: Layer of each spot ``(spots,)``.
        reach: Depth of each layer's peak or end ``(layers,)`` [cm of water].
        on_axis: ``on_axis(layer, weights, depths)``: dose [Gy] on the axis of its beam from the
            spots of one layer alone.
    """

    angles: Floats
    isocentre: Floats
    beam_layers: NDArray[np.int64]
    spot_layer: NDArray[np.int64]
    reach: Floats
    on_axis: Callable[[int, Floats, Floats], Floats] = field(repr=False)

    @classmethod
    def of_beams(cls, beams: BeamSet) -> Layout:
        """The layout of pencil beams."""

        def on_axis(layer: int, weights: Floats, depths: Floats) -> Floats:
            reach = float(beams.reach[layer])
            curve = np.interp(depths, *bragg.depth_dose(reach), right=0.0)
            variance = beams.air_sigma**2 + bragg.scattering(reach, depths) ** 2
            own = beams.spot_layer == layer
            side = beams.spot_offset[own]
            near = np.exp(-0.5 * side[:, None] ** 2 / variance) * (weights[own])[:, None]
            return np.asarray(curve * beams.air_sigma / np.sqrt(variance) * near.sum(axis=0))

        return cls(beams.angles, beams.isocentre, beams.beam_layers, beams.spot_layer,
                   beams.reach, on_axis)  # fmt: skip

    @classmethod
    def of_published(cls, model: PublishedModel) -> Layout:
        """The layout of the source's beamlets."""
        peaks = np.linspace(*model.layers)
        count, side = len(peaks), np.asarray(model.lateral)
        near = np.exp(-0.5 * (side / model.sigma_lateral) ** 2)

        def on_axis(layer: int, weights: Floats, depths: Floats) -> Floats:
            own = weights[layer * len(side) : (layer + 1) * len(side)]
            return model.depth_dose(depths, float(peaks[layer % count])) * float(own @ near)

        layers = count * len(ANGLES)
        return cls(
            np.asarray(ANGLES), np.array([20.0, 20.0]), np.arange(0, layers + 1, count),
            np.repeat(np.arange(layers), len(side)), np.tile(peaks, len(ANGLES)), on_axis,
        )  # fmt: skip


@dataclass(frozen=True)
class Plane:
    """A plane of a grid with what is drawn in it; images are ``(y, x)``."""

    extent: tuple[float, float, float, float]
    x: Floats
    y: Floats
    dose: Floats
    masks: dict[str, NDArray[np.bool_]]
    density: Floats | None
    axes: tuple[str, str]
    label: str


def colours(structures: StructureSet) -> dict[str, str]:
    """A colour for each structure."""
    found, organs = {}, 0
    for one in structures:
        if one.role == "oar":
            found[one.name] = _ORGANS[organs % len(_ORGANS)]
            organs += 1
        else:
            found[one.name] = _TARGET if one.role == "target" else _BODY
    return found


def six_panels(
    influence: DoseInfluence,
    weights: ArrayLike,
    *,
    phantom: Phantom | None = None,
    layout: Layout | BeamSet | PublishedModel | None = None,
    beam: int = 0,
    title: str = "",
) -> Figure:
    """Phantom, dose, DVH, dose surface, weights and depth-dose composition of a plan.

    Of a grid with three axes the plane through the middle of the target is drawn. Without a
    ``layout`` the last two panels show weights by group and the dose on lines through the target.

    Args:
        influence: The dose influence; it must know its grid.
        weights: Weights ``(spots,)``.
        phantom: The phantom, for densities and coordinates.
        layout: Where the spots lie.
        beam: The beam of the last panel.
        title: Title.

    Raises:
        WeightError: The weights do not fit the influence.
        ValueError: The influence has no grid of two or three axes, or there is no such beam.
    """
    values = influence.check_weights(weights)
    if values.ndim != 1:
        raise ValueError(f"weights have shape {values.shape}; allowed: one plan, (spots,)")
    if isinstance(layout, BeamSet):
        layout = Layout.of_beams(layout)
    elif isinstance(layout, PublishedModel):
        layout = Layout.of_published(layout)
    if layout is not None and not 0 <= beam < len(layout.angles):
        raise ValueError(f"beam is {beam!r}; allowed: 0 to {len(layout.angles) - 1}")
    dose = influence.dose(values)
    plane = plane_of(influence, dose, phantom)
    figure = Figure(figsize=(15.0, 9.2), layout="constrained")
    if title:
        figure.suptitle(title, fontsize="x-large")
    axes = [figure.add_subplot(2, 3, n, projection="3d" if n == 4 else None) for n in range(1, 7)]
    shades = colours(influence.structures)
    _draw_phantom(axes[0], plane, influence.structures, shades, layout)
    draw_dose(axes[1], plane, shades, influence.prescribed)
    draw_dvh(axes[2], influence, {"": [dose]})
    surface = axes[3]
    assert isinstance(surface, Axes3D)
    _draw_surface(surface, plane, influence.prescribed)
    if layout is None:
        _draw_groups(axes[4], influence, values)
        _draw_lines(axes[5], plane, influence)
    else:
        _draw_weights(axes[4], layout, values)
        _draw_composition(axes[5], layout, values, beam, influence, phantom)
    for letter, axis in zip("ABCDEF", axes, strict=True):
        text = axis.get_title()
        axis.set_title("")
        axis.set_title(f"{letter}  {text}", loc="left")
    return figure


def plane_of(influence: DoseInfluence, dose: Floats, phantom: Phantom | None = None) -> Plane:
    """The plane of a plan that is drawn; with three axes the one with the most of the target.

    Args:
        influence: Matrix, grid and structures.
        dose: Dose ``(voxels,)`` [Gy].
        phantom: Densities, if they are known.

    Raises:
        ValueError: The influence has no grid of two or three axes.
    """
    shape = influence.shape
    if shape is None or len(shape) not in (2, 3):
        raise ValueError(f"the influence has a grid of shape {shape}; allowed: two or three axes")
    spacing = influence.spacing or (1.0,) * len(shape)
    origin = phantom.origin if phantom is not None else tuple(0.5 * s for s in spacing)
    if len(origin) != len(shape):
        raise ValueError(f"the phantom has {len(origin)} axes, the influence {len(shape)}")
    cut: tuple[Any, ...] = ()
    label = ""
    if len(shape) == 3:
        # Across the axis with the fewest voxels.
        across = int(np.argmin(shape))
        target = influence.structures[influence.structures.target].voxels
        places = np.unravel_index(target, shape)[across]
        middle = int(np.bincount(places).argmax())
        cut = tuple(middle if axis == across else slice(None) for axis in range(3))
        label = f"plane {middle} of axis {across}"
    kept = [axis for axis in range(len(shape)) if not cut or isinstance(cut[axis], slice)]
    x, y = (origin[a] + spacing[a] * np.arange(shape[a], dtype=np.float64) for a in kept)

    def image(values: Any) -> Any:
        grid = np.asarray(values).reshape(shape)
        return (grid[cut] if cut else grid).T

    masks = {}
    for one in influence.structures:
        mask = np.zeros(influence.num_voxels, np.bool_)
        mask[one.voxels] = True
        masks[one.name] = image(mask)
    half_x, half_y = 0.5 * spacing[kept[0]], 0.5 * spacing[kept[1]]
    extent = (x[0] - half_x, x[-1] + half_x, y[0] - half_y, y[-1] + half_y)
    density = None if phantom is None else image(phantom.density)
    names = ("x", "y") if not cut else (f"axis {kept[0]}", f"axis {kept[1]}")
    return Plane(extent, x, y, image(dose), masks, density, names, label)


def outlines(axis: Axes, plane: Plane, shades: Mapping[str, str], width: float = 1.6) -> None:
    """Outlines of the structures, along the edges of their voxels.

    Args:
        axis: Matplotlib axes.
        plane: What is drawn.
        shades: Colours by structure.
        width: Width of the lines [pt].
    """
    left, right, low, high = plane.extent
    for name, mask in plane.masks.items():
        if mask.any() and not mask.all():
            fine = np.pad(np.kron(mask, np.ones((_FINE, _FINE))), 1)
            rows, columns = fine.shape
            x = left + (np.arange(columns) - 0.5) * (right - left) / (columns - 2)
            y = low + (np.arange(rows) - 0.5) * (high - low) / (rows - 2)
            axis.contour(x, y, fine, [0.5], colors=[shades[name]], linewidths=width)


def _map_axes(axis: Axes, plane: Plane) -> None:
    axis.set(xlabel=f"{plane.axes[0]} [cm]", ylabel=f"{plane.axes[1]} [cm]", aspect="equal")
    axis.set_xlim(plane.extent[:2])
    axis.set_ylim(plane.extent[2:])


def _draw_phantom(
    axis: Axes,
    plane: Plane,
    structures: StructureSet,
    shades: Mapping[str, str],
    layout: Layout | None,
) -> None:
    if plane.density is not None and np.ptp(plane.density) > 0.0:
        axis.imshow(plane.density, origin="lower", extent=plane.extent, cmap="Greys", vmin=0.0,
                    vmax=2.5 * max(1.0, 0.5 * plane.density.max()))  # fmt: skip
    else:
        axis.set_facecolor("#F2F2F2")
    for one in structures:
        mask = plane.masks[one.name]
        if one.role != "body" and mask.any():
            filled = np.where(mask, 1.0, np.nan)
            axis.imshow(filled, origin="lower", extent=plane.extent, alpha=0.55,
                        cmap=ListedColormap([shades[one.name]]))  # fmt: skip
    outlines(axis, plane, shades, 1.2)
    if layout is not None:
        _draw_arrows(axis, plane, layout)
    handles: list[object] = [Patch(color=shades[one.name], label=one.name) for one in structures]
    axis.legend(handles=handles, loc="upper right", fontsize="small", framealpha=0.9)
    _map_axes(axis, plane)
    axis.set_title(f"Phantom{' and beams' * (layout is not None)}" + _comma(plane.label))


def _comma(text: str) -> str:
    return f", {text}" if text else ""


def _draw_arrows(axis: Axes, plane: Plane, layout: Layout) -> None:
    units = directions(layout.angles)
    near = min(plane.extent[1] - plane.extent[0], plane.extent[3] - plane.extent[2])
    for number, (unit, angle) in enumerate(zip(units, layout.angles, strict=True)):
        shade = _BEAMS[number % len(_BEAMS)]
        start = layout.isocentre - 0.45 * near * unit
        end = layout.isocentre - 0.12 * near * unit
        axis.add_patch(
            FancyArrowPatch(tuple(start), tuple(end), arrowstyle="-|>", mutation_scale=16,
                            color=shade, linewidth=2.4)
        )  # fmt: skip
        side = layout.isocentre - 0.40 * near * unit + 0.045 * near * np.array([-unit[1], unit[0]])
        axis.annotate(f"{angle:g}°", tuple(side), ha="center", va="center", color=shade,
                      fontweight="bold")  # fmt: skip


def draw_dose(
    axis: Axes,
    plane: Plane,
    shades: Mapping[str, str],
    prescription: float,
    *,
    bar: bool = True,
    legend: bool = True,
    top: float | None = None,
) -> None:
    """Dose with isodose lines and outlines of the structures; ``top`` [Gy] ends the colours.

    Args:
        axis: Matplotlib axes.
        plane: What is drawn.
        shades: Colours by structure.
        prescription: Dose of 100 % [Gy].
        bar: Whether a colour bar stands beside it.
        legend: Whether the isodose lines are named.
        top: Dose at the end of the colours [Gy].
    """
    top = top or max(1.1 * prescription, float(plane.dose.max()))
    image = axis.imshow(plane.dose, origin="lower", extent=plane.extent, cmap=_DOSE, vmin=0.0,
                        vmax=top, interpolation="bilinear")  # fmt: skip
    handles = []
    for share, shade in _ISODOSES:
        level = share * prescription
        if plane.dose.max() > level:
            axis.contour(plane.x, plane.y, plane.dose, [level], colors=[shade], linewidths=1.2)
            handles.append(Line2D([], [], color=shade, label=f"{level:g} Gy"))
    outlines(axis, plane, shades)
    if legend:
        axis.legend(handles=handles, loc="upper right", fontsize="small", facecolor="#333333",
                    labelcolor="white", framealpha=0.85)  # fmt: skip
    if bar:
        axis.figure.colorbar(image, ax=axis, label="dose [Gy]", shrink=0.85)
    _map_axes(axis, plane)
    axis.set_title("Dose with isodose lines" + _comma(plane.label))


def draw_dvh(
    axis: Axes,
    influence: DoseInfluence,
    plans: Mapping[str, Sequence[Floats]],
    *,
    legend: bool = True,
    right: float | None = None,
) -> None:
    """Dose-volume histograms with the limits of the structures.

    Args:
        axis: Where to draw.
        influence: The structures.
        plans: Doses ``(voxels,)`` of each plan, the nominal one first; with further ones the range
            over all is shaded. Later plans are dashed.
        legend: Whether to list the structures.
        right: End of the dose axis [Gy].
    """
    structures = influence.structures
    shades = colours(structures)
    top = 1.08 * max(float(np.max(doses)) for doses in plans.values())
    top = right or max(top, 1.15 * influence.prescribed)
    grid = np.linspace(0.0, top, _POINTS)
    for style, doses in zip(("-", "--", ":"), plans.values(), strict=False):
        for one in structures:
            if one.role == "body":
                continue
            curves = 100.0 * np.stack([dvh(dose, one.voxels, grid) for dose in doses])
            shade = shades[one.name]
            if len(curves) > 1:
                axis.fill_between(grid, curves.min(axis=0), curves.max(axis=0), color=shade,
                                  alpha=0.25, linewidth=0.0)  # fmt: skip
            axis.plot(grid, curves[0], style, color=shade, linewidth=1.8)
    handles = [
        Line2D([], [], color=shades[one.name], label=_limit_label(one))
        for one in structures
        if one.role != "body"
    ]
    for one in structures:
        if one.limit is not None:
            axis.axvline(one.limit, color=shades[one.name], linestyle=(0, (4, 3)), linewidth=1.0)
    axis.axvline(influence.prescribed, color=_TARGET, linestyle=(0, (4, 3)), linewidth=1.0)
    axis.axhline(95.0, color="0.6", linewidth=0.8)
    axis.set(xlabel="dose [Gy]", ylabel="volume [%]", xlim=(0.0, top), ylim=(0.0, 103.0))
    axis.grid(alpha=0.25)
    if legend:
        axis.legend(handles=handles, loc="best", fontsize="small", framealpha=0.9)
    target = dose_statistics(next(iter(plans.values()))[0], influence)[structures.target]
    axis.set_title(f"DVH: D95 {target['D95']:.1f}, D2 {target['D2']:.1f} Gy")


def _limit_label(one: Any) -> str:
    return one.name if one.limit is None else f"{one.name}, limit {one.limit:g} Gy"


def _draw_surface(axis: Axes3D, plane: Plane, prescription: float) -> None:
    step = max(1, max(plane.dose.shape) // 80)
    x, y = np.meshgrid(plane.x[::step], plane.y[::step])
    dose = plane.dose[::step, ::step]
    axis.plot_surface(x, y, dose, cmap=_DOSE, vmin=0.0, vmax=max(1.1 * prescription, dose.max()),
                      rcount=100, ccount=100, linewidth=0.0, antialiased=False)  # fmt: skip
    axis.set(xlabel=f"{plane.axes[0]} [cm]", ylabel=f"{plane.axes[1]} [cm]", zlabel="dose [Gy]")
    axis.view_init(elev=32.0, azim=-58.0)
    axis.set_box_aspect((1.0, 1.0, 0.62), zoom=0.9)
    axis.set_title("Dose surface")


def _draw_weights(axis: Axes, layout: Layout, weights: Floats) -> None:
    beams = len(layout.angles)
    counts = np.diff(layout.beam_layers)
    table = np.full((beams, int(counts.max())), np.nan)
    totals = np.bincount(layout.spot_layer, weights, len(layout.reach))
    for beam in range(beams):
        own = slice(layout.beam_layers[beam], layout.beam_layers[beam + 1])
        table[beam, : counts[beam]] = totals[own]
    image = axis.imshow(table, cmap="viridis", aspect="auto", vmin=0.0)
    high = np.nanmax(table)
    for beam in range(beams):
        for layer in range(counts[beam]):
            reach = layout.reach[layout.beam_layers[beam] + layer]
            light = table[beam, layer] < 0.6 * high
            axis.text(layer, beam, f"{reach:.1f}", ha="center", va="center", fontsize="x-small",
                      color="white" if light else "black")  # fmt: skip
    axis.set_yticks(range(beams), [f"{angle:g}°" for angle in layout.angles])
    axis.set_xticks(range(table.shape[1]), [str(n + 1) for n in range(table.shape[1])])
    axis.set(xlabel="energy layer (in the fields: depth of its end [cm])")
    axis.figure.colorbar(image, ax=axis, label="sum of weights", shrink=0.85)
    axis.set_title("Weights by beam and layer")


def _draw_composition(
    axis: Axes,
    layout: Layout,
    weights: Floats,
    beam: int,
    influence: DoseInfluence,
    phantom: Phantom | None,
) -> None:
    layers = range(layout.beam_layers[beam], layout.beam_layers[beam + 1])
    depths = np.linspace(0.0, 1.25 * float(layout.reach[list(layers)].max()), _POINTS)
    curves = np.stack([layout.on_axis(layer, weights, depths) for layer in layers])
    shades = matplotlib.colormaps["viridis"](np.linspace(0.0, 0.92, len(curves)))
    if phantom is not None:
        target = influence.structures[influence.structures.target].voxels
        geometry = trace(phantom, layout.angles, layout.isocentre)
        reached = geometry.depths[beam, target]
        axis.axvspan(float(reached.min()), float(reached.max()), color=_TARGET, alpha=0.18,
                     linewidth=0.0, label="depths of the target")  # fmt: skip
    for curve, shade in zip(curves, shades, strict=True):
        axis.plot(depths, curve, color=shade, linewidth=1.1)
    axis.plot(depths, curves.sum(axis=0), color="black", linewidth=2.2, label="sum of the layers")
    axis.set(xlabel="water-equivalent depth [cm]", ylabel="dose on the axis of the beam [Gy]")
    axis.set_xlim(0.0, depths[-1])
    axis.set_ylim(bottom=0.0)
    axis.grid(alpha=0.25)
    axis.legend(loc="upper left", fontsize="small")
    axis.set_title(f"Depth-dose composition, beam at {layout.angles[beam]:g}°")


def _draw_groups(axis: Axes, influence: DoseInfluence, weights: Floats) -> None:
    totals = np.bincount(influence.groups, weights, influence.num_groups)
    axis.bar(np.arange(len(totals)), totals, width=1.0, color="#0072B2")
    axis.set(xlabel="group of spots", ylabel="sum of weights", xlim=(-0.5, len(totals) - 0.5))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.grid(axis="y", alpha=0.25)
    axis.set_title("Weights by group")


def _draw_lines(axis: Axes, plane: Plane, influence: DoseInfluence) -> None:
    mask = plane.masks[influence.structures.target]
    row, column = (round(float(one.mean())) for one in np.nonzero(mask))
    axis.plot(plane.x, plane.dose[row], color=_BEAMS[0], label=f"along {plane.axes[0]}")
    axis.plot(plane.y, plane.dose[:, column], color=_BEAMS[1],
              label=f"along {plane.axes[1]}")  # fmt: skip
    axis.axhline(influence.prescribed, color=_TARGET, linestyle=(0, (4, 3)), linewidth=1.0)
    axis.set(xlabel="position [cm]", ylabel="dose [Gy]")
    axis.set_ylim(bottom=0.0)
    axis.grid(alpha=0.25)
    axis.legend(loc="upper left", fontsize="small")
    axis.set_title("Dose through the target")


def dvh_bands(scenarios: Sequence[DoseInfluence], plans: Mapping[str, ArrayLike]) -> Figure:
    """Dose-volume histograms of plans, nominal and their range over scenarios, a panel a plan.

    Args:
        scenarios: The influence of each scenario, the nominal one first.
        plans: Weights ``(spots,)`` by name.

    Raises:
        ValueError: There is no scenario or no plan.
    """
    if not scenarios or not plans:
        raise ValueError("there is no scenario or no plan; allowed: at least one of each")
    nominal = scenarios[0]
    figure = Figure(figsize=(6.2 * len(plans), 5.0), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(plans), sharey=True))
    doses = {name: [one.dose(weights) for one in scenarios] for name, weights in plans.items()}
    right = 1.05 * max(float(np.max(one)) for one in doses.values())
    target = nominal.structures.target
    for axis, (name, own) in zip(panels, doses.items(), strict=True):
        draw_dvh(axis, nominal, {name: own}, right=right, legend=axis is panels[-1])
        covered = [dose_statistics(dose, nominal)[target]["D95"] for dose in own]
        axis.set_title(f"{name}: D95 {covered[0]:.1f} Gy, worst {min(covered):.1f} Gy")
    for axis in panels[1:]:
        axis.set_ylabel("")
    figure.suptitle(f"lines: no error; bands: range over {len(scenarios)} scenarios",
                    fontsize="medium")  # fmt: skip
    return figure
