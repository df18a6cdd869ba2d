// Figures drawn from data: axes, curves, ranges, and what the reader points at.

// The style sheet has the colours; further agents are dashed.
const COLOURS = 8;
const colour = index => `var(--c${index % COLOURS})`;
const DASHES = ["", "7 3", "2 3", "9 3 2 3", "14 4", "1 6"];
const dash = index => DASHES[Math.floor(index / COLOURS) % 4];
// Curves of one agent that share a panel.
const dashOf = line => line.curve === undefined ? dash(line.agent)
  : DASHES[line.curve % DASHES.length];
const MARGIN = { left: 56, right: 24, top: 24, bottom: 38 };

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// Four digits, a typographic minus, and a dash for what is missing.
function show(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "\u2013";
  if (typeof value !== "number") return String(value);
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size > 0 && size < 0.0005) return value > 0 ? "< 0.001" : "> \u22120.001";
  if (size >= 1e15) {
    const power = Math.floor(Math.log10(size));
    return `${(value / 10 ** power).toFixed(2)} x 10^${power}`.replace(/-/g, "\u2212");
  }
  const digits = size >= 1000 ? 0 : size >= 100 ? 1 : size >= 10 ? 2 : 3;
  const [whole, part] = value.toFixed(digits).split(".");
  const grouped = size >= 9999.5 ? whole.replace(/\B(?=(\d{3})+$)/g, " ") : whole;
  return (part ? `${grouped}.${part}` : grouped).replace(/-/g, "\u2212");
}

// A number that has to stay what it is: a mark of an axis, a parameter.
function exact(value) {
  if (typeof value !== "number" || Number.isNaN(value)) return show(value);
  const size = Math.abs(value);
  if (size >= 1e15) return show(value);
  // Plain digits, four of them significant, without zeros at the end.
  const places = size > 0 ? Math.max(0, 3 - Math.floor(Math.log10(size))) : 0;
  const text = String(places > 20 ? 0 : value.toFixed(Math.min(places, 20)));
  const short = text.includes(".") ? text.replace(/\.?0+$/, "") : String(+value.toPrecision(4));
  const grouped = size >= 9999.5 ? short.replace(/\B(?=(\d{3})+$)/g, "\u202f") : short;
  return grouped.replace(/-/g, "\u2212");
}

// Three significant digits, for the cells of a table.
function brief(value) {
  const size = Math.abs(value);
  if (typeof value !== "number" || !(size >= 0.0005) || size >= 999.5) {
    return Number.isInteger(value) || size >= 999.5 ? exact(Math.round(value)) : show(value);
  }
  return exact(+value.toPrecision(3));
}

const titled = (label, unit) => unit ? `${label} [${unit}]` : label;

// Round values that divide a range into about `count` parts.
function ticks(low, high, count) {
  const raw = (high - low) / count, power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find(factor => factor * power >= raw * 0.999);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) {
    found.push(+(k * step).toPrecision(12));
  }
  return found;
}

// The range of some numbers with room around them; never empty.
function range(numbers, room = 0.05) {
  let low = Infinity, high = -Infinity;
  for (const number of numbers) {
    if (!Number.isFinite(number)) continue;
    low = Math.min(low, number);
    high = Math.max(high, number);
  }
  if (low > high) return [0, 1];
  const pad = room * (high - low) || (room && (Math.abs(low) * 0.1 || 1));
  return [low - pad, high + pad];
}

const scale = ([low, high], from, to) => value =>
  from + (to - from) * (high > low ? (value - low) / (high - low) : 0.5);

// Called with the width of an element now and whenever that changes.
function fitted(element, redraw) {
  let last = 0;
  const fit = () => {
    // Within a hidden tab an element has no width: what a sheet of paper has then.
    const width = Math.max(300, Math.min(1100, Math.floor(element.clientWidth) || 700));
    if (width !== last) redraw(last = width);
  };
  new ResizeObserver(fit).observe(element);
  fit();
  return () => redraw(last);
}

// So many check boxes stand open; more of them are folded.
const FEW = 6;

// Check boxes that show and hide agents; `shown` is the set of the indices of those on.
function agentBoxes(labels, shown, change) {
  const boxes = labels.map((label, index) => {
    const box = make("input", { type: "checkbox" });
    box.addEventListener("change", () => {
      if (box.checked) shown.add(index); else shown.delete(index);
      change();
    });
    return box;
  });
  const update = () => boxes.forEach((box, index) => { box.checked = shown.has(index); });
  const all = make("button", { type: "button" }, "all");
  const none = make("button", { type: "button" }, "none");
  all.addEventListener("click", () => { labels.forEach((_, i) => shown.add(i)); update(); change(); });
  none.addEventListener("click", () => { shown.clear(); update(); change(); });
  const entries = labels.map((label, index) => {
    return make("label", {}, boxes[index], lineOf(index), label);
  });
  update();
  const fields = make("fieldset", { class: "agents" }, make("legend", {}, "Agents"), ...entries,
    make("span", { class: "choices" }, all, none));
  if (labels.length <= FEW) return fields;
  return make("details", { class: "folded" }, make("summary", {}, `Choose among ${labels.length} agents`),
    fields);
}

function chooser(label, texts, change) {
  const select = make("select", {}, ...texts.map((text, i) => make("option", { value: i }, text)));
  select.addEventListener("change", () => change(select.selectedIndex));
  return [make("label", { class: "chooser" }, make("span", {}, label), select), select];
}

// A box with words beside the pointer.
class Hint {
  constructor(parent) {
    this.element = make("div", { class: "hint", hidden: "" });
    this.parent = parent;
    parent.append(this.element);
  }

  show(lines, x, y) {
    this.element.replaceChildren(...lines.map(line => make("div", {}, ...[line].flat())));
    this.element.hidden = false;
    const room = this.parent.clientWidth - this.element.offsetWidth - 4;
    const right = x + 16 <= room;
    this.element.style.left = `${right ? x + 16 : Math.max(0, x - this.element.offsetWidth - 16)}px`;
    this.element.style.top = `${Math.max(0, y - this.element.offsetHeight - 8)}px`;
  }

  hide() { this.element.hidden = true; }
}

// A piece of the curve of an agent.
function lineOf(index) {
  return draw("svg", { class: "piece", width: 22, height: 10, "aria-hidden": "true" },
    draw("line", { x1: 1, x2: 21, y1: 5, y2: 5, style: `stroke:${colour(index)}`,
      "stroke-width": 3, "stroke-dasharray": dash(index) }));
}

function swatchOf(index) {
  return make("span", { class: "swatch", style: `background:${colour(index)}` });
}

// Grid, ticks and labels; without a label of y, rows take its place. `whole`: x counts something.
function frame(svg, box, xRange, yRange, xLabel, yLabel, whole = false) {
  const x = scale(xRange, box.left, box.right), y = scale(yRange, box.bottom, box.top);
  const levels = yLabel ? ticks(...yRange, Math.max(2, (box.bottom - box.top) / 34)) : [];
  for (const tick of levels) {
    svg.append(
      draw("line", { class: "grid", x1: box.left, x2: box.right, y1: y(tick), y2: y(tick) }),
      draw("text", { class: "tick", x: box.left - 6, y: y(tick) + 4, "text-anchor": "end" },
        exact(tick)));
  }
  for (const tick of ticks(...xRange, Math.max(2, (box.right - box.left) / 90))) {
    if (whole && !Number.isInteger(tick)) continue;
    svg.append(
      draw("line", { class: "grid", x1: x(tick), x2: x(tick), y1: box.top, y2: box.bottom }),
      draw("text", { class: "tick", x: x(tick), y: box.bottom + 15, "text-anchor": "middle" },
        exact(tick)));
  }
  if (yLabel) {
    svg.append(draw("text", { class: "label name", x: 2, y: 13 }, yLabel));
  }
  svg.append(draw("text", { class: "label", x: (box.left + box.right) / 2, y: box.bottom + 32,
    "text-anchor": "middle" }, xLabel));
  return [x, y];
}

// Time and value of a curve at a time; of events and points, those of the one next to it, and its
// index. Undefined where there is none.
function valueAt(line, time, near) {
  const { time: t, values: v } = line;
  if (line.events || line.points) {
    let best = -1;
    if (line.points) near = 0;
    t.forEach((at, i) => {
      const gap = Math.abs(at - time);
      if (gap <= near && (best < 0 || gap < Math.abs(t[best] - time))) best = i;
    });
    return best < 0 ? undefined : [t[best], v[best], best];
  }
  if (!t.length || time < t[0] - near || time > t[t.length - 1] + near) return undefined;
  let low = 0, high = t.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (t[middle] <= time) low = middle; else high = middle;
  }
  if (v[low] === null || v[high] === null) return undefined;
  const span = t[high] - t[low], inside = Math.max(t[low], Math.min(t[high], time));
  return [inside, span > 0 ? v[low] + (v[high] - v[low]) * (inside - t[low]) / span : v[high]];
}

// Curves and stems over one axis. `lines` have agent (index), name, time, values and optionally low
// and high (a band); `events` are stems, and of `points` only those themselves are read. `zero`
// draws a line there. Returns the function that puts the cursor at a time.
function panel(parent, options, moved) {
  const { width, height, xRange, xLabel, yLabel, lines, limit, zero, whole } = options;
  const named = `${options.limitLabel || "limit"} ${exact(limit)}`;
  const box = { left: MARGIN.left, right: width - MARGIN.right, top: MARGIN.top,
    bottom: height - MARGIN.bottom };
  const numbers = lines.flatMap(line => [...line.values, ...(line.low || []), ...(line.high || [])]
    .filter(value => value !== null));
  if (limit !== null && limit !== undefined) numbers.push(limit);
  if (zero || lines.some(line => line.events)) numbers.push(0);
  const yRange = range(numbers);
  if (lines.some(line => line.events) && Math.min(...numbers) >= 0) yRange[0] = 0;
  const holder = make("div", { class: "panel" });
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", tabindex: 0,
    "aria-label": `${yLabel} against ${xLabel}: ${lines.map(l => l.name).join(", ") || "nothing"}. `
      + "Left and right arrow keys read the values." });
  const [x, y] = frame(svg, box, xRange, yRange, xLabel, yLabel, whole);
  if (zero) {
    svg.append(draw("line", { class: "mark", x1: box.left, x2: box.right, y1: y(0), y2: y(0) }));
  }
  if (limit !== null && limit !== undefined) {
    svg.append(draw("line", { class: "limit", x1: box.left, x2: box.right, y1: y(limit),
      y2: y(limit) }, draw("title", {}, named)),
      draw("text", { class: "limit-name", x: box.right, y: y(limit) - (y(limit) < box.top + 14 ? -13 : 5),
        "text-anchor": "end" }, named));
  }
  lines.forEach((line, number) => {
    const style = `stroke:${colour(line.agent)}`;
    if (line.events) {
      // Side by side, or doses of the same day would hide one another.
      const shift = 3 * (number - (lines.length - 1) / 2);
      const path = line.time.map((t, i) =>
        `M${(x(t) + shift).toFixed(1)} ${y(0).toFixed(1)}V${y(line.values[i]).toFixed(1)}`);
      svg.append(draw("path", { class: "stem", d: path.join(""), style }));
      return;
    }
    if (line.low) {
      const there = line.time.map((t, i) => `${x(t).toFixed(1)} ${y(line.high[i]).toFixed(1)}`);
      const back = line.time.map((t, i) => `${x(t).toFixed(1)} ${y(line.low[i]).toFixed(1)}`);
      svg.append(draw("path", { d: `M${there.join("L")}L${back.reverse().join("L")}Z`,
        style: `fill:${colour(line.agent)}`, "fill-opacity": 0.18 }));
    }
    let path = "", pen = "M";
    line.time.forEach((t, i) => {
      if (line.values[i] === null) { pen = "M"; return; }
      path += `${pen}${x(t).toFixed(1)} ${y(line.values[i]).toFixed(1)}`;
      pen = "L";
    });
    svg.append(draw("path", { class: "curve", d: path, style,
      "stroke-dasharray": dashOf(line) }));
    if (line.time.length === 1 && line.low) {
      svg.append(draw("line", { x1: x(line.time[0]), x2: x(line.time[0]), y1: y(line.low[0]),
        y2: y(line.high[0]), style, "stroke-width": 2 }));
    }
    line.time.forEach((t, i) => {
      if (line.values[i] === null || !(line.points || line.time.length === 1)) return;
      svg.append(draw("circle", { cx: x(t), cy: y(line.values[i]), r: 3.5,
        style: `fill:${colour(line.agent)}` }));
    });
  });
  const cursor = draw("line", { class: "cursor", y1: box.top, y2: box.bottom, visibility: "hidden" });
  svg.append(cursor);
  holder.append(svg);
  parent.append(holder);
  const hint = new Hint(holder), spoken = make("div", { class: "hidden", "aria-live": "polite" });
  holder.append(spoken);
  const near = (xRange[1] - xRange[0]) / 60;
  const read = time => lines.map(line => [line, valueAt(line, time, near)])
    .filter(([, found]) => found);
  const told = (line, [, value, index]) => show(value) + (line.low && index !== undefined
    ? ` [${show(line.low[index])}, ${show(line.high[index])}]` : "");
  // Where something can be read: everywhere, or at the points only.
  const stops = lines.some(line => line.points)
    ? [...new Set(lines.flatMap(line => line.time))].sort((a, b) => a - b) : null;
  const stopAt = time => stops.reduce(
    (best, at, i) => Math.abs(at - time) < Math.abs(stops[best] - time) ? i : best, 0);
  const put = (time, mine) => {
    cursor.setAttribute("visibility", time === null ? "hidden" : "visible");
    if (time === null || !mine) hint.hide();
    if (time === null) return;
    cursor.setAttribute("x1", x(time));
    cursor.setAttribute("x2", x(time));
    if (!mine) return;
    const found = read(time), ratio = svg.clientWidth / width || 1;
    const rows = found.map(([line, one]) => [swatchOf(line.agent),
      `${line.name}: ${told(line, one)}` + (line.events ? ` at ${exact(one[0])}` : "")]);
    hint.show([make("b", {}, `${xLabel} ${exact(time)}`), ...rows], x(time) * ratio,
      (box.top + 40) * ratio);
  };
  const go = time => { put(time, true); moved(time, put); };
  svg.addEventListener("pointermove", event => {
    const place = svg.getBoundingClientRect();
    const at = (event.clientX - place.left) * width / place.width;
    const share = Math.max(0, Math.min(1, (at - box.left) / (box.right - box.left)));
    const there = xRange[0] + share * (xRange[1] - xRange[0]);
    go(stops ? stops[stopAt(there)] : there);
  });
  svg.addEventListener("pointerleave", () => go(null));
  svg.addEventListener("blur", () => go(null));
  let time = xRange[0];
  svg.addEventListener("keydown", event => {
    const steps = { ArrowLeft: -1, ArrowRight: 1, PageDown: -10, PageUp: 10, Home: -1e9, End: 1e9 };
    if (event.key === "Escape") go(null);
    if (!(event.key in steps)) return;
    event.preventDefault();
    if (stops) {
      time = stops[Math.max(0, Math.min(stops.length - 1, stopAt(time) + steps[event.key]))];
    } else {
      time += steps[event.key] * (xRange[1] - xRange[0]) / 60;
      time = Math.max(xRange[0], Math.min(xRange[1], time));
    }
    go(time);
    spoken.textContent = `${xLabel} ${exact(time)}: ` + (read(time).map(
      ([line, one]) => `${line.name} ${told(line, one)}`).join("; ") || "nothing");
  });
  return put;
}

const DRAWERS = {};

// Named curves, such as returns while agents learn.
DRAWERS.lines = (parent, data) => {
  const shown = new Set(data.series.map((_, index) => index));
  const stage = make("div", { class: "stage" });
  const xRange = range(data.series.flatMap(series => series.time), 0);
  const redraw = width => {
    stage.replaceChildren();
    const lines = data.series.map((series, agent) => ({ ...series, agent }))
      .filter(line => shown.has(line.agent));
    panel(stage, { width, height: 300, xRange, xLabel: data.x, yLabel: data.y, lines,
      limit: data.limit }, () => {});
  };
  let again = () => {};
  const boxes = agentBoxes(data.series.map(series => series.name), shown, () => again());
  boxes.querySelector("legend, summary").textContent = "Curves";
  parent.append(...(data.series.length > 1 ? [boxes] : []), stage);
  again = fitted(stage, redraw);
};

// A row an agent: spread over the patients, and the estimate with its interval.
DRAWERS.ranges = (parent, data) => {
  const shown = new Set(data.agents.map((_, index) => index));
  const stage = make("div", { class: "stage" });
  let measure = data.measures[0], again = () => {};
  const describe = (agent, row) => {
    const parts = [`${data.agents[agent]}: ${data.estimate} ${show(row.estimate)}`];
    if (row.low !== null && show(row.low) !== show(row.high)) {
      parts.push(`95 % interval [${show(row.low)}, ${show(row.high)}]`);
    }
    if (row.spread) {
      const [p5, q1, median, q3, p95] = row.spread.map(show);
      parts.push(`median ${median}`, `half of the patients ${q1} to ${q3}`,
        `nine of ten ${p5} to ${p95}`);
    }
    return parts;
  };
  const redraw = width => {
    stage.replaceChildren();
    const agents = [...shown].sort((a, b) => a - b).filter(agent => measure.rows[agent]);
    const longest = Math.max(...data.agents.map(label => label.length));
    const left = Math.min(7.2 * longest + 16, 0.42 * width), step = 30;
    const box = { left, right: width - 16, top: 18, bottom: 18 + step * Math.max(1, agents.length) };
    const height = box.bottom + MARGIN.bottom;
    const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "group",
      "aria-label": titled(measure.label, measure.unit) });
    const numbers = agents.flatMap(agent => {
      const row = measure.rows[agent];
      return [row.estimate, row.low, row.high, ...(row.spread || [])].filter(n => n !== null);
    });
    const marks = Object.entries(measure.marks || {});
    const xRange = range([...numbers, ...marks.map(([, at]) => at)]);
    const [x] = frame(svg, box, xRange, [0, 1], titled(measure.label, measure.unit), "");
    const close = marks.length === 2 && Math.abs(x(marks[0][1]) - x(marks[1][1])) < 66;
    marks.forEach(([name, at], number) => {
      const text = close ? (number ? marks.map(mark => mark[0]).join(", ") : "") : name;
      // The words of two marks side by side point away from each other.
      const near = x(at) + 7 * text.length > width;
      const anchor = near ? "end" : marks.length < 2 ? "middle" : number ? "start" : "end";
      svg.append(draw("line", { class: "mark", x1: x(at), x2: x(at), y1: box.top, y2: box.bottom }),
        draw("text", { class: "tick", x: near ? width - 2 : x(at), y: box.top - 5,
          "text-anchor": anchor }, text));
    });
    const hint = new Hint(stage);
    agents.forEach((agent, place) => {
      const row = measure.rows[agent], y = box.top + step * (place + 0.5), paint = colour(agent);
      // One stop of the tabulator a figure; the arrow keys go from row to row.
      const group = draw("g", { tabindex: place ? -1 : 0, role: "img",
        "aria-label": describe(agent, row).join("; ") });
      group.append(draw("rect", { class: "band", x: 0, y: y - step / 2, width, height: step }));
      const letters = Math.floor((left - 12) / 7.2), label = data.agents[agent];
      group.append(draw("text", { class: "name", x: left - 8, y: y + 4, "text-anchor": "end" },
        label.length > letters ? `${label.slice(0, letters - 1)}\u2026` : label));
      if (row.spread) {
        const [p5, q1, median, q3, p95] = row.spread.map(x);
        group.append(
          draw("line", { x1: p5, x2: p95, y1: y, y2: y, style: `stroke:${paint}` }),
          draw("rect", { x: q1, y: y - 8, width: Math.max(1, q3 - q1), height: 16,
            style: `fill:${paint}`, "fill-opacity": 0.28 }),
          draw("line", { x1: median, x2: median, y1: y - 8, y2: y + 8, style: `stroke:${paint}`,
            "stroke-width": 2 }));
      }
      if (row.low !== null) {
        group.append(draw("line", { x1: x(row.low), x2: x(row.high), y1: y, y2: y,
          style: `stroke:${paint}`, "stroke-width": 5 }));
      }
      group.append(draw("circle", { class: "point", cx: x(row.estimate), cy: y, r: 5,
        style: `fill:${paint}` }));
      const tell = () => hint.show([make("b", {}, data.agents[agent]),
        ...describe(agent, row).map((part, i) => i ? part : part.slice(data.agents[agent].length + 2))],
        Math.min(x(row.estimate) * (svg.clientWidth / width || 1), stage.clientWidth), y);
      for (const event of ["pointerenter", "focus"]) group.addEventListener(event, tell);
      for (const event of ["pointerleave", "blur"]) {
        group.addEventListener(event, () => hint.hide());
      }
      group.addEventListener("keydown", event => {
        const step = { ArrowUp: -1, ArrowDown: 1 }[event.key], rows = [...svg.querySelectorAll("g")];
        if (!step || !rows[place + step]) return;
        event.preventDefault();
        group.setAttribute("tabindex", -1);
        rows[place + step].setAttribute("tabindex", 0);
        rows[place + step].focus();
      });
      svg.append(group);
    });
    stage.prepend(svg);
  };
  const [label] = chooser("Measure", data.measures.map(m => titled(m.label, m.unit)), index => {
    measure = data.measures[index];
    again();
  });
  parent.append(make("div", { class: "controls" }, label),
    agentBoxes(data.agents, shown, () => again()), stage);
  again = fitted(stage, redraw);
};
