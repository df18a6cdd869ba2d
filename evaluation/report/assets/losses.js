// What perturbations cost: a panel a perturbation, a curve an agent, one measure for all of them.

DRAWERS.losses = (parent, data) => {
  const shown = new Set(data.agents.map((_, index) => index));
  const stage = make("div", { class: "stage" });
  let measure = 0, again = () => {};
  const redraw = width => {
    stage.replaceChildren();
    for (const one of data.panels) {
      const lines = one.lines.filter(line => shown.has(line.agent)).map(line => ({
        agent: line.agent, name: data.agents[line.agent], time: line.time, points: true,
        ...line.measures[measure] }));
      panel(stage, { width, height: 230, lines, zero: true, whole: one.whole, xLabel: one.x,
        xRange: range(one.lines.flatMap(line => line.time)),
        yLabel: `${one.title}: ${data.measures[measure]}` }, () => {});
    }
  };
  const [label] = chooser("Measure", data.measures, index => { measure = index; again(); });
  parent.append(make("div", { class: "controls" }, label),
    agentBoxes(data.agents, shown, () => again()), stage);
  again = fitted(stage, redraw);
};
