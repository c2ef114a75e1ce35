// Runs in the page as a test's eye; returns a list of sentences.
const flaws = [];
const say = (what, element) =>
  flaws.push(`${what}: ${element.outerHTML.replace(/\s+/g, " ").slice(0, 160)}`);
const all = (css) => [...document.querySelectorAll(css)];
const shown = (element) => {
  const box = element.getBoundingClientRect();
  return box.width > 1 && box.height > 1 && getComputedStyle(element).visibility === "visible";
};

// Names and structure.
if (!document.documentElement.lang) flaws.push("the page has no language");
if (!document.title.includes("Portcullis")) flaws.push("the page has no title");
if (all("h1").length !== 1) flaws.push(`${all("h1").length} first headings`);
if (all("main").length !== 1) flaws.push("not one main part");
const ids = all("[id]").map((element) => element.id);
ids.filter((id, at) => ids.indexOf(id) !== at).forEach((id) => flaws.push(`two elements are #${id}`));
all("input:not([type=hidden]), select, textarea").forEach((field) => {
  if (field.labels.length === 0 && !field.ariaLabel) say("a field without a label", field);
});
all("button, a[href]").forEach((control) => {
  if (!(control.ariaLabel || control.textContent).trim()) say("a control without a name", control);
});
all("img").forEach((image) => image.hasAttribute("alt") || say("an image without alt", image));
all("svg").forEach((image) => image.ariaLabel || say("a drawing without words", image));
all("table").forEach((table) => {
  if (!table.caption) say("a table without a caption", table);
  table.querySelectorAll("th").forEach((th) => th.scope || say("a title without scope", th));
});
all("[aria-labelledby], [aria-describedby]").forEach((element) => {
  const named = `${element.getAttribute("aria-labelledby") || ""} ${element.getAttribute("aria-describedby") || ""}`;
  named.trim().split(/\s+/).forEach((id) => document.getElementById(id) || say(`nothing is #${id}`, element));
});
all("[style], script").forEach((element) => say("what the policy forbids", element));

// Contrast, as WCAG 2.2 computes it.
const parse = (colour) => (colour.match(/[\d.]+/g) || []).map(Number);
const light = ([r, g, b]) => {
  const part = (value) => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  };
  return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
};
const ground = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const colour = parse(getComputedStyle(at).backgroundColor);
    if (colour.length === 3 || colour[3] === 1) return colour;
  }
  return [255, 255, 255];
};
all("body *").forEach((element) => {
  const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  if (!(own || element.matches("input, select, textarea")) || !shown(element)) return;
  const style = getComputedStyle(element);
  const drawn = element.closest("svg") !== null;
  const one = light(parse(drawn ? style.fill : style.color));
  const other = light(ground(element));
  const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
  const size = parseFloat(style.fontSize);
  const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
  if (ratio < (large ? 3 : 4.5)) say(`contrast ${ratio.toFixed(2)}`, element);
});

// Room: nothing to be scrolled sideways.
const root = document.documentElement;
if (root.scrollWidth > root.clientWidth) {
  flaws.push(`${root.scrollWidth} wide in ${root.clientWidth}`);
  all("body *")
    .filter((element) => shown(element) && element.getBoundingClientRect().right > root.clientWidth + 1)
    .slice(0, 3)
    .forEach((element) => say("sticks out", element));
}

// Nothing from elsewhere.
performance
  .getEntriesByType("resource")
  .filter((entry) => !entry.name.startsWith(location.origin + "/"))
  .forEach((entry) => flaws.push(`asked ${entry.name}`));
return flaws;
