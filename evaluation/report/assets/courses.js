// The treatment browser: one patient of one environment, the courses under any agents.

const ADDRESS = "#courses:";

DRAWERS.courses = (parent, data) => {
  const state = { env: 0, patient: 0, shown: new Set() };
  const stage = make("div", { class: "stage" });
  const told = make("p", { class: "told", role: "status" });
  const agentsPlace = make("div"), outcomes = make("div", { class: "scroll", role: "region",
    "aria-label": "Outcomes of this patient", tabindex: 0 });
  const now = () => data.environments[state.env];
  let again = () => {};

  const [envLabel, envSelect] = chooser("Environment", data.environments.map(env => env.id),
    index => { enter(index); again(); });
  const [patientLabel, patientSelect] = chooser("Patient", [], index => {
    state.patient = index;
    again();
  });
  const turn = step => {
    const count = now().patients.length;
    state.patient = (state.patient + step + count) % count;
    patientSelect.selectedIndex = state.patient;
    again();
  };
  const previous = make("button", { type: "button", "aria-label": "previous patient" }, "\u2190");
  const next = make("button", { type: "button", "aria-label": "next patient" }, "\u2192");
  previous.addEventListener("click", () => turn(-1));
  next.addEventListener("click", () => turn(1));

  // Go to an environment; the agents of interest are on, unless others are named.
  function enter(index, patient = 0, agents = null) {
    state.env = index;
    const env = now();
    state.patient = Math.min(patient, env.patients.length - 1);
    const wanted = agents || env.agents.flatMap((agent, i) => agent.first ? [i] : []);
    state.shown = new Set(wanted.filter(i => i < env.agents.length));
    envSelect.selectedIndex = index;
    patientSelect.replaceChildren(...env.patients.map((one, i) =>
      make("option", { value: i }, `patient ${one.number}`)));
    patientSelect.selectedIndex = state.patient;
    agentsPlace.replaceChildren(
      agentBoxes(env.agents.map(agent => agent.label), state.shown, () => again()));
  }

  function redraw(width) {
    const env = now(), patient = env.patients[state.patient];
    const agents = [...state.shown].sort((a, b) => a - b);
    stage.replaceChildren();
    const about = Object.entries(patient.about).map(([key, value]) => `${key} ${exact(value)}`);
    told.textContent = `${env.id}, patient ${patient.number}`
      + (about.length ? ` (${about.join(", ")})` : "")
      + `: ${agents.map(i => env.agents[i].label).join(", ") || "no agent chosen"}.`;
    const axes = {};
    patient.panels.forEach((one, k) => {
      const times = env.agents.flatMap((_, i) => patient.courses[i][k]?.[0] || []);
      (axes[one.time] ||= []).push(...times);
    });
    const cursors = [];
    patient.panels.forEach((one, k) => {
      const lines = agents.filter(i => patient.courses[i][k]).map(agent => ({
        agent, name: env.agents[agent].label, events: one.events,
        time: patient.courses[agent][k][0], values: patient.courses[agent][k][1] }));
      const put = panel(stage, { width, height: one.events ? 160 : 200, lines, limit: one.limit,
        xRange: range(axes[one.time], 0.01), xLabel: one.time, yLabel: one.label },
        // The other panels on the same axis follow.
        (time, self) => cursors.forEach(([axis, other]) => {
          if (other !== self && axis === one.time) other(time, false);
        }));
      cursors.push([one.time, put]);
    });
    outcomes.replaceChildren(table(env, patient, agents));
    const address = `${ADDRESS}${state.env},${state.patient},${agents.join(".")}`;
    // A page in a frame without an address of its own may refuse; nothing depends on it.
    try { if (ready) history.replaceState(null, "", address); } catch { /* stays as it is */ }
  }

  function table(env, patient, agents) {
    const head = ["Agent", ...env.measures.map(m => titled(m.label, m.unit)), "Success"];
    const rows = agents.map(agent => make("tr", {},
      make("th", { scope: "row" }, swatchOf(agent), env.agents[agent].label),
      ...patient.outcomes[agent].map(value => make("td", { class: "num" }, show(value))),
      make("td", {}, patient.success[agent] ? "yes" : "no")));
    return make("table", { class: "outcomes" },
      make("caption", {}, `Outcomes of patient ${patient.number}`),
      make("thead", {}, make("tr", {}, ...head.map(text => make("th", { scope: "col" }, text)))),
      make("tbody", {}, ...rows));
  }

  // An address with a choice in it opens the page there.
  function follow() {
    const found = /^#courses:(\d+),(\d+),([\d.]*)$/.exec(location.hash);
    if (!found || +found[1] >= data.environments.length) return false;
    enter(+found[1], +found[2], found[3].split(".").filter(Boolean).map(Number));
    return true;
  }

  let ready = false;
  if (!follow()) enter(0);
  parent.append(make("div", { class: "controls" }, envLabel, patientLabel, previous, next),
    agentsPlace, told, stage, outcomes);
  again = fitted(stage, redraw);
  ready = true;
  if (location.hash.startsWith(ADDRESS)) parent.scrollIntoView();
  addEventListener("hashchange", () => { if (follow()) { again(); parent.scrollIntoView(); } });
};
