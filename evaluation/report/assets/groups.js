// Scores over all treatments: a group a treatment, a row an agent, the ends of the scale as lines.

DRAWERS.groups = (parent, data) => {
  const stage = make("div", { class: "stage" });
  const paints = { trained: "var(--c1)", reacts: "var(--c0)", fixed: "var(--soft)" };
  const words = { trained: "trained", reacts: "reacts", fixed: "fixed beforehand" };
  const told = row => show(row.estimate) + (row.low === null || show(row.low) === show(row.high)
    ? "" : ` [${show(row.low)}, ${show(row.high)}]`);
  const key = make("p", { class: "told" }, ...Object.entries(words).flatMap(([kind, word]) => {
    const swatch = make("span", { class: "swatch", style: `background:${paints[kind]}` });
    return [make("span", { class: "keyed" }, swatch, word)];
  }));
  // What lies further out is drawn at the edge, its number stands beside it.
  const numbers = data.groups.flatMap(group => group.rows.flatMap(row =>
    [row.estimate, row.low, row.high])).filter(n => n !== null && n >= -1 && n <= 2);
  const xRange = range([...numbers, 0, 1], 0.04);
  const letters = Math.max(...data.groups.flatMap(g => g.rows.map(row => row.label.length)));
  const cut = (text, room) => {
    const count = Math.max(4, Math.floor(room / 6.6));
    return text.length > count ? `${text.slice(0, count - 1)}\u2026` : text;
  };

  // One treatment, `width` wide; returns its height. Where there is little room, labels stand above
  // their rows; where columns stand side by side, intervals are drawn but not written.
  function treatment(svg, group, width, alone) {
    const above = width < 300 || (alone && width < 620), step = above ? 38 : 23;
    const left = above ? 8 : Math.min(6.6 * letters + 14, 0.5 * width);
    const right = above ? width - 8 : width - (alone ? 150 : 48);
    svg.append(draw("text", { class: "name title", x: 0, y: 14 }, cut(group.title, width)));
    [`0: ${group.zero}`, `1: ${group.one}`].forEach((text, i) =>
      svg.append(draw("text", { class: "tick", x: 0, y: 31 + 16 * i }, cut(text, width),
        draw("title", {}, text))));
    const x = scale(xRange, left, right), top = 56, bottom = top + step * group.rows.length;
    const inside = n => x(Math.max(xRange[0], Math.min(xRange[1], n)));
    for (const tick of ticks(...xRange, Math.max(2, (right - left) / 70))) {
      const end = tick === 0 || tick === 1;
      svg.append(draw("line", { class: end ? "end" : "grid", x1: x(tick), x2: x(tick), y1: top,
        y2: bottom + 4 }), draw("text", { class: "tick", x: x(tick), y: bottom + 17,
        "text-anchor": "middle" }, exact(tick)));
    }
    group.rows.forEach((row, place) => {
      const y = top + step * (place + (above ? 0.75 : 0.5)), paint = paints[row.kind];
      const line = draw("g", { role: "img", "aria-label":
        `${group.title}, ${row.label}, sees ${row.sees}: score ${told(row)}` });
      const words = alone ? told(row) : row.estimate.toFixed(2).replace(/-/g, "\u2212");
      const room = above ? width - 7 * words.length - 24 : left - 12;
      line.append(
        draw("rect", { class: "band", x: 0, y: y - (above ? 24 : step / 2), width, height: step }),
        draw("text", above ? { class: "name over", x: 8, y: y - 11 }
          : { class: "name", x: left - 8, y: y + 4, "text-anchor": "end" }, cut(row.label, room)),
        draw("text", { class: "tick over", x: width - 4, y: above ? y - 11 : y + 4,
          "text-anchor": "end" }, words),
        draw("title", {}, `${row.label}, sees ${row.sees}: ${told(row)}`));
      if (row.low !== null) {
        line.append(draw("line", { x1: inside(row.low), x2: inside(row.high), y1: y, y2: y,
          style: `stroke:${paint}`, "stroke-width": 4 }));
      }
      line.append(draw("circle", { class: "point", cx: inside(row.estimate), cy: y, r: 5,
        style: `fill:${paint}` }));
      svg.append(line);
    });
    return bottom + 34;
  }

  const redraw = width => {
    stage.replaceChildren();
    const fit = width >= 980 ? 3 : width >= 640 ? 2 : 1, gap = 28;
    const columns = Math.min(fit, data.groups.length);
    const each = (width - gap * (columns - 1)) / columns;
    const svg = draw("svg", { role: "group", "aria-label": "Scores" });
    let top = 0, height = 0;
    data.groups.forEach((group, i) => {
      if (i % columns === 0) { top += height; height = 0; }
      const place = draw("g", { transform: `translate(${(each + gap) * (i % columns)} ${top})` });
      height = Math.max(height, treatment(place, group, each, columns === 1));
      svg.append(place);
    });
    svg.setAttribute("viewBox", `0 0 ${width} ${top + height}`);
    stage.append(svg);
  };
  parent.append(key, stage);
  fitted(stage, redraw);
};
