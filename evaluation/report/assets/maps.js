// What a treatment left over a plane, a map an agent, all on one scale of colours.

// From dark to light, so that it reads without colour, too.
const HEAT = [[0, 0, 4], [40, 11, 84], [101, 21, 110], [159, 42, 99], [212, 72, 66], [245, 125, 21],
  [250, 193, 39], [252, 255, 164]];

function heat(share) {
  const place = share * (HEAT.length - 1), low = Math.min(Math.floor(place), HEAT.length - 2);
  return HEAT[low].map((from, i) => Math.round(from + (place - low) * (HEAT[low + 1][i] - from)));
}

// Which line is which curve, whatever the agent.
function keyOfCurves(labels) {
  return make("p", { class: "key", "aria-hidden": "true" }, ...labels.map((label, k) =>
    make("span", { class: "keyed" }, draw("svg", { class: "piece", width: 34, height: 10 },
      draw("line", { x1: 1, x2: 33, y1: 5, y2: 5, style: "stroke:var(--soft)", "stroke-width": 2,
        "stroke-dasharray": DASHES[k % DASHES.length] })), label)));
}

function picture(map, bytes) {
  const [rows, columns] = map.size;
  const canvas = make("canvas", { width: columns, height: rows });
  const context = canvas.getContext("2d"), image = context.createImageData(columns, rows);
  const values = Uint8Array.from(atob(bytes), letter => letter.charCodeAt(0));
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const colours = heat(values[row * columns + column] / 255);
      // The first row is the lowest.
      image.data.set([...colours, 255], 4 * ((rows - 1 - row) * columns + column));
    }
  }
  context.putImageData(image, 0, 0);
  return canvas.toDataURL();
}

function mapOf(map, bytes, name, width) {
  const [left, right, bottom, top] = map.extent;
  const height = Math.round(width * (top - bottom) / (right - left));
  const x = scale([left, right], 0, width), y = scale([bottom, top], height, 0);
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img",
    "aria-label": `${map.label}, ${name}; outlines: ${Object.keys(map.outlines).join(", ")}` });
  svg.append(draw("image", { href: picture(map, bytes), width, height,
    preserveAspectRatio: "none", style: "image-rendering: pixelated" }));
  Object.entries(map.outlines).forEach(([structure, pieces], k) => {
    const d = pieces.map(piece => "M" + piece.map(([a, b]) =>
      `${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join("L")).join("");
    for (const kind of ["under", "line"]) {
      svg.append(draw("path", { class: `outline ${kind}`, d, "stroke-dasharray":
        kind === "line" ? DASHES[k % DASHES.length] : "" }, draw("title", {}, structure)));
    }
  });
  return svg;
}

// The scale of colours with its marks.
function scaleOf(map, width) {
  const height = 44, bar = 14, x = scale([0, map.top], 8, width - 8);
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img",
    "aria-label": `Scale of colours: ${map.label}, 0 to ${exact(map.top)}` });
  const parts = 64;
  for (let k = 0; k < parts; k++) {
    const from = x(map.top * k / parts), to = x(map.top * (k + 1) / parts);
    svg.append(draw("rect", { x: from, width: to - from + 0.5, y: 0, height: bar,
      fill: `rgb(${heat((k + 0.5) / parts)})` }));
  }
  for (const tick of ticks(0, map.top, 5)) {
    svg.append(draw("text", { class: "tick", x: x(tick), y: bar + 13, "text-anchor": "middle" },
      exact(tick)));
  }
  for (const [label, value] of Object.entries(map.marks)) {
    svg.append(draw("line", { class: "limit", x1: x(value), x2: x(value), y1: 0, y2: bar },
      draw("title", {}, `${label} ${exact(value)}`)));
  }
  svg.append(draw("text", { class: "label", x: width / 2, y: height - 4, "text-anchor": "middle" },
    map.label));
  return svg;
}

function mapsOf(patient, agents, env, width) {
  const parts = make("div", { class: "maps" });
  patient.maps.forEach((map, k) => {
    const size = Math.min(300, width - 8);
    for (const agent of agents) {
      parts.append(make("figure", { class: "map" },
        mapOf(map, patient.images[agent][k], env.agents[agent].label, size),
        make("figcaption", {}, lineOf(agent), env.agents[agent].label)));
    }
    if (agents.length) {
      const [left, right, bottom, top] = map.extent;
      parts.append(make("figure", { class: "map" }, scaleOf(map, size),
        keyOfCurves(Object.keys(map.outlines)), make("figcaption", {},
          `A plane of ${exact(right - left)} x ${exact(top - bottom)} ${map.unit}`)));
    }
  });
  return parts;
}
