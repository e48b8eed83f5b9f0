"use strict";
// What a report can do beyond lying there: tooltips on figures, buttons that copy, folds that open for a link or the
// printer, and the explorer. Without this script everything is still there, as static figures and pictures.

const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];

function make(tag, attributes = {}, text = "") {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
}

function tooltips() {
  const bubble = make("div", { class: "bubble", role: "status", hidden: "" });
  document.body.append(bubble);
  function show(point) {
    const box = point.getBoundingClientRect();
    bubble.textContent = point.dataset.text;
    bubble.hidden = false;
    const left = Math.min(box.right + 8, innerWidth - bubble.offsetWidth - 6);
    bubble.style.left = `${Math.max(6, left)}px`;
    bubble.style.top = `${Math.max(6, box.top - bubble.offsetHeight - 6)}px`;
  }
  const hide = () => { bubble.hidden = true; };
  for (const point of all(".tip")) { // the title becomes our own text, which touch and keyboard can reach
    const title = point.querySelector("title");
    point.dataset.text = title.textContent;
    title.remove();
    point.addEventListener("pointerenter", () => show(point));
    point.addEventListener("pointerleave", hide);
    point.addEventListener("click", () => show(point));
  }
  for (const figure of all("svg[role=img]")) {
    const points = all(".tip", figure);
    let at = -1;
    if (!points.length) figure.removeAttribute("tabindex");
    figure.addEventListener("keydown", event => {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!by || !points.length) return;
      event.preventDefault();
      at = at < 0 && by < 0 ? points.length - 1 : (at + by + points.length) % points.length;
      show(points[at]);
    });
    figure.addEventListener("blur", hide);
  }
  addEventListener("scroll", hide, { passive: true });
}

function copying() {
  for (const button of all("[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const area = make("textarea");
      area.value = button.dataset.copy;
      document.body.append(area);
      area.select();
      const done = document.execCommand("copy"); // unlike navigator.clipboard, it works in a file
      area.remove();
      button.textContent = done ? "Copied" : "Not copied";
      button.focus();
    });
  }
}

function folds() {
  const open = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    if (target && target.tagName === "DETAILS") target.open = true;
  };
  addEventListener("hashchange", open);
  open();
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = all("details:not([open])");
    for (const fold of closed) fold.open = true;
  });
  addEventListener("afterprint", () => { for (const fold of closed) fold.open = false; });
}

// Each grid of samples is four by four; a film has one line per sample and one frame per noise level.
const SIDE = 4;

function explorer(root) {
  const views = JSON.parse(root.querySelector("script").textContent);
  const pictures = new Map(all("img[data-picture]").map(image => [image.dataset.picture, image]));
  const points = new Map(views.flatMap(view => view.points.map(point => [point.key, point])));
  const part = name => root.querySelector(`[data-part=${name}]`);
  const film = root.querySelector(".film");
  const slider = film.querySelector("input");
  const plot = root.nextElementSibling.querySelector("svg");
  let view, at, chosen = 0, frames = null;

  const marker = document.createElementNS("http://www.w3.org/2000/svg", "circle");
  marker.setAttribute("class", "marker");
  marker.setAttribute("r", "6.5");

  // Pictures and films

  function put(element, picture, point) {
    const image = pictures.get(picture);
    element.classList.toggle("none", !image);
    element.style.backgroundImage = image ? `url(${image.src})` : "";
    element.setAttribute("role", "group");
    element.dataset.picture = picture;
    element.replaceChildren();
    const strip = image && pictures.get(`${picture}-film`);
    if (!strip || !point) return;
    const size = image.naturalWidth / SIDE;
    const lines = Math.min(SIDE, Math.round(strip.naturalHeight / size));
    for (let sample = 0; sample < lines; sample++) {
      const button = make("button", { type: "button", "aria-label": `Film of sample ${sample + 1}, ${point.label}` });
      button.style.cssText = `left:${sample * 100 / SIDE}%;top:0;width:${100 / SIDE}%;height:${100 / SIDE}%`;
      for (const event of ["pointerenter", "focus", "click"]) {
        button.addEventListener(event, () => openFilm(point, sample, button));
      }
      element.append(button);
    }
  }

  function openFilm(point, sample, button) {
    for (const other of all(".open", root)) other.classList.remove("open");
    button.classList.add("open");
    const strip = pictures.get(`${point.picture}-film`);
    const size = pictures.get(point.picture).naturalWidth / SIDE;
    const count = Math.round(strip.naturalWidth / size);
    const last = !frames || frames.count !== count ? count - 1 : Number(slider.value);
    frames = { point, sample, size, count };
    chosen = sample;
    film.hidden = false;
    film.querySelector(".title").textContent = `Sample ${sample + 1}, ${point.label}`;
    slider.max = count - 1;
    slider.value = last;
    drawFilm();
  }

  function drawFilm() {
    const { point, sample, size, count } = frames;
    const frame = Number(slider.value);
    for (const element of all(".frame", film)) {
      const strip = pictures.get(`${point.picture}-${element.dataset.strip}`);
      element.parentElement.hidden = !strip;
      if (!strip) continue;
      const zoom = element.clientWidth / size || 6;
      element.style.backgroundImage = `url(${strip.src})`;
      element.style.backgroundSize = `${strip.naturalWidth * zoom}px ${strip.naturalHeight * zoom}px`;
      element.style.backgroundPosition = `${-frame * size * zoom}px ${-sample * size * zoom}px`;
    }
    const level = point.levels[frame];
    film.querySelector("output").textContent = `${frame + 1} of ${count}${level ? `, sigma ${level}` : ""}`;
  }
  slider.addEventListener("input", drawFilm);

  // Controls

  function pressed(buttons, on) {
    buttons.forEach((button, index) => button.setAttribute("aria-pressed", String(index === on)));
  }

  function knob(index) {
    const { label, values, slider: ordered } = view.knobs[index];
    const line = make("div", { class: "knob" });
    const turn = value => { at[index] = value; show(); written(); };
    if (ordered) {
      const named = make("label", {}, label);
      const input = make("input", { type: "range", min: 0, max: values.length - 1, "aria-label": label });
      const output = make("output");
      input.value = at[index];
      output.textContent = values[at[index]];
      input.setAttribute("aria-valuetext", values[at[index]]);
      input.addEventListener("input", () => {
        output.textContent = values[input.value];
        input.setAttribute("aria-valuetext", values[input.value]);
        turn(Number(input.value));
      });
      const both = make("span");
      both.append(input, output);
      line.append(named, both);
    } else if (values.length > 8) {
      const select = make("select", { "aria-label": label });
      values.forEach((value, number) => select.append(make("option", { value: number }, value)));
      select.value = at[index];
      select.addEventListener("change", () => turn(Number(select.value)));
      line.append(make("span", {}, label), select);
    } else {
      const group = make("div", { class: "values", role: "group", "aria-label": label });
      const buttons = values.map(value => make("button", { type: "button" }, value));
      pressed(buttons, at[index]);
      buttons.forEach((button, number) => button.addEventListener("click", () => {
        pressed(buttons, number);
        turn(number);
      }));
      group.append(...buttons);
      line.append(make("span", {}, label), group);
    }
    return line;
  }

  function enter(number, place = points.get(views[number].start).at) {
    view = views[number];
    at = [...place];
    pressed(all(".views button", root), number);
    root.querySelector(".knobs").replaceChildren(
      ...view.knobs.map((_, index) => index).filter(index => view.knobs[index].values.length > 1).map(knob));
    show();
  }

  function show() {
    const point = view.points.find(one => one.at.every((value, index) => value === at[index]));
    const facts = root.querySelector(".facts tbody");
    part("now").nextElementSibling.textContent = point ? point.label : "This combination was not run.";
    root.dataset.now = point ? point.key : "";
    put(part("now"), point ? point.picture : "", point);
    if (!point) {
      facts.replaceChildren();
      marker.remove();
      return;
    }
    const against = points.get(point.against);
    put(part("against"), against.picture, against);
    part("against").nextElementSibling.textContent = `baseline: ${against.label}`;
    facts.replaceChildren(...point.facts.map(cells => {
      const row = make("tr");
      row.append(...cells.map(cell => make("td", {}, cell)));
      return row;
    }));
    const mark = plot.querySelector(`[data-key="${point.key}"]`);
    if (mark) {
      for (const name of ["cx", "cy"]) marker.setAttribute(name, mark.getAttribute(name));
      if (!marker.parentNode) plot.append(marker);
    }
    if (frames) {
      const button = part("now").querySelectorAll("button")[chosen];
      if (button) openFilm(point, chosen, button);
      else { film.hidden = true; frames = null; }
    }
  }

  // A link such as report.html#eta=1&nfe=32 names the values of the knobs, and each turn of a knob writes it.

  function written() {
    const values = view.knobs.map(({ name, values }, index) => [name, values[at[index]]]);
    history.replaceState(null, "", `#${new URLSearchParams(values.filter((_, index) => view.knobs[index].values.length > 1))}`);
  }

  function follow() {
    const wanted = [...new URLSearchParams(location.hash.slice(1))];
    const same = (text, value) => text === value || (value !== "" && Number(text) === Number(value));
    const fits = (knobs, point) => wanted.every(([name, value]) =>
      knobs.some((knob, index) => knob.name === name && same(knob.values[point.at[index]], value)));
    for (const [number, { knobs, points }] of wanted.length ? views.entries() : []) {
      const point = points.find(one => fits(knobs, one));
      if (!point) continue;
      enter(number, point.at);
      root.scrollIntoView();
      return true;
    }
    return false;
  }

  put(part("real"), "real");
  if (views.length > 1) {
    root.querySelector(".views").append(...views.map((one, number) => {
      const button = make("button", { type: "button" }, one.title);
      button.addEventListener("click", () => { enter(number); written(); });
      return button;
    }));
  }
  root.hidden = false;
  addEventListener("hashchange", follow);
  if (!follow()) enter(0);
}

tooltips();
copying();
folds();
addEventListener("load", () => all(".explorer").forEach(explorer));
