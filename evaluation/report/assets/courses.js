// One patient of an environment: the courses under any agents.

const ADDRESS = "#courses:";

// The numbers of the panels that are drawn in one: neighbours of one name.
function sharing(panels) {
  const groups = [];
  panels.forEach((one, k) => {
    const last = groups[groups.length - 1];
    if (one.shared && last && panels[last[0]].shared === one.shared) last.push(k);
    else groups.push([k]);
  });
  return groups;
}

DRAWERS.courses = (parent, env) => {
  const state = { patient: 0, shown: new Set() };
  const stage = make("div", { class: "stage" });
  const told = make("p", { class: "told", role: "status" });
  const key = make("p", { class: "key", "aria-hidden": "true" });
  const agentsPlace = make("div"), outcomes = make("div", { class: "scroll", role: "region",
    "aria-label": "Outcomes of this patient", tabindex: 0 });
  let again = () => {};

  const slider = make("input", { type: "range", min: 0, max: env.patients.length - 1, value: 0 });
  const number = make("span", {});
  // What the reader chooses stands in the address.
  const act = () => {
    again();
    const agents = [...state.shown].sort((a, b) => a - b);
    remember(`${ADDRESS}${env.number},${state.patient},${agents.join(".")}`);
  };
  slider.addEventListener("input", () => { state.patient = +slider.value; act(); });
  const turn = step => {
    const count = env.patients.length;
    state.patient = (state.patient + step + count) % count;
    act();
  };
  const previous = make("button", { type: "button", "aria-label": "previous patient" }, "\u2190");
  const next = make("button", { type: "button", "aria-label": "next patient" }, "\u2192");
  previous.addEventListener("click", () => turn(-1));
  next.addEventListener("click", () => turn(1));

  // The agents of interest are on, unless others are named.
  function enter(patient = 0, agents = null) {
    state.patient = Math.min(patient, env.patients.length - 1);
    const wanted = agents || env.agents.flatMap((agent, i) => agent.first ? [i] : []);
    state.shown = new Set(wanted.filter(i => i < env.agents.length));
    agentsPlace.replaceChildren(
      agentBoxes(env.agents.map(agent => agent.label), state.shown, () => act()));
  }

  function redraw(width) {
    const patient = env.patients[state.patient];
    const agents = [...state.shown].sort((a, b) => a - b);
    stage.replaceChildren();
    slider.value = state.patient;
    number.textContent = patient.number;
    const about = Object.entries(patient.about).map(([key, value]) =>
      `${key} ${exact(value)}${env.units[key] ? ` ${env.units[key]}` : ""}`);
    told.textContent = `${env.id}, patient ${patient.number}`
      + (about.length ? ` (${about.join(", ")})` : "")
      + `: ${agents.map(i => env.agents[i].label).join(", ") || "no agent chosen"}.`;
    key.replaceChildren(...agents.map(i => make("span", { class: "keyed" }, lineOf(i),
      env.agents[i].label)));
    const axes = {};
    patient.panels.forEach((one, k) => {
      const times = env.agents.flatMap((_, i) => patient.courses[i][k]?.[0] || []);
      (axes[one.time] ||= []).push(...times);
    });
    const cursors = [];
    for (const together of sharing(patient.panels)) {
      const one = patient.panels[together[0]], several = together.length > 1;
      const lines = agents.flatMap(agent => together.filter(k => patient.courses[agent][k])
        .map((k, curve) => ({
          agent, events: one.events, curve: one.shared ? curve : undefined,
          name: env.agents[agent].label + (one.shared ? `, ${patient.panels[k].label}` : ""),
          time: patient.courses[agent][k][0], values: patient.courses[agent][k][1] })));
      const put = panel(stage, { width, height: one.events ? 160 : several ? 260 : 200, lines,
        limit: one.limit, limitLabel: one.limit_label, xRange: range(axes[one.time], 0.01),
        xLabel: one.time, yLabel: one.shared || one.label },
        // The other panels on the same axis follow.
        (time, self) => cursors.forEach(([axis, other]) => {
          if (other !== self && axis === one.time) other(time, false);
        }));
      cursors.push([one.time, put]);
      if (one.shared) stage.append(keyOfCurves(together.map(k => patient.panels[k].label)));
    }
    if (patient.maps.length) stage.append(mapsOf(patient, agents, env, width));
    outcomes.replaceChildren(table(patient, agents));
  }

  function table(patient, agents) {
    const head = ["Agent", ...env.measures.map(m => titled(m.label, m.unit)), "Success"];
    const rows = agents.map(agent => make("tr", {},
      make("th", { scope: "row" }, swatchOf(agent), env.agents[agent].label),
      ...patient.outcomes[agent].map(value => make("td", { class: "num" }, brief(value))),
      make("td", {}, patient.success[agent] ? "yes" : "no")));
    return make("table", { class: "outcomes" },
      make("caption", {}, `Outcomes of patient ${patient.number}`),
      make("thead", {}, make("tr", {}, ...head.map(text => make("th", { scope: "col" }, text)))),
      make("tbody", {}, ...rows));
  }

  // An address with a choice in it opens the page there.
  function follow() {
    const found = /^#courses:(\d+),(\d+),([\d.]*)$/.exec(location.hash);
    if (!found || +found[1] !== env.number) return false;
    enter(+found[2], found[3].split(".").filter(Boolean).map(Number));
    return true;
  }

  const named = follow();
  if (!named) enter();
  parent.append(make("div", { class: "controls" },
    make("label", { class: "chooser" }, make("span", {}, "Patient ", number), slider),
    previous, next), agentsPlace, told, key, stage, outcomes);
  again = fitted(stage, redraw);
  if (named) reveal(parent);
  addEventListener("hashchange", () => { if (follow()) { again(); reveal(parent); } });
};
