// Sections of the page as tabs. Without scripts, and on paper, they follow one another.

const sections = [...document.querySelectorAll("section.tab")];
const tabs = sections.map((section, index) => {
  const tab = make("button", { type: "button", role: "tab", id: `${section.id}-tab`,
    "aria-controls": section.id }, section.dataset.title);
  tab.addEventListener("click", () => { showTab(index); remember(`#${section.id}`); });
  tab.addEventListener("keydown", event => {
    const to = { ArrowLeft: index - 1, ArrowRight: index + 1, Home: 0, End: sections.length - 1 };
    if (!(event.key in to)) return;
    event.preventDefault();
    const next = (to[event.key] + sections.length) % sections.length;
    tabs[next].focus();
    tabs[next].click();
  });
  return tab;
});

function showTab(index) {
  sections.forEach((section, i) => { section.hidden = i !== index; });
  tabs.forEach((tab, i) => {
    tab.setAttribute("aria-selected", i === index);
    tab.tabIndex = i === index ? 0 : -1;
  });
}

// A page in a frame without an address of its own may refuse; nothing depends on it.
function remember(address) {
  try { history.replaceState(null, "", address); } catch { /* stays as it is */ }
}

// Bring an element into view, whatever tab it is in.
function reveal(element) {
  const index = sections.indexOf(element.closest("section.tab"));
  if (index >= 0 && sections.length > 1) showTab(index);
  element.scrollIntoView();
}

function revealNamed() {
  const named = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
  if (named) reveal(named);
}

if (sections.length > 1) {
  const list = make("div", { role: "tablist", "aria-label": "Parts of the report" }, ...tabs);
  sections[0].before(list);
  sections.forEach((section, i) => {
    section.setAttribute("role", "tabpanel");
    section.setAttribute("aria-labelledby", tabs[i].id);
  });
  document.querySelector("nav[aria-label=Contents]")?.remove();
  showTab(0);
  revealNamed();
  addEventListener("hashchange", revealNamed);
}
