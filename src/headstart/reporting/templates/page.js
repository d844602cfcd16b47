"use strict";
(() => {
  const root = document.documentElement, find = (id) => document.getElementById(id);
  const kept = (value) => {
    try {
      if (value === undefined) return localStorage.getItem("headstart-theme");
      localStorage.setItem("headstart-theme", value);
    } catch { /* a page opened from a file may have no storage */ }
    return null;
  };
  const button = find("theme"), before = kept();
  if (before === "dark" || before === "light") root.dataset.theme = before;
  button.hidden = false;
  button.addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    kept(root.dataset.theme);
  });
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((each) => { each.open = true; }));

  const links = new Map([...document.querySelectorAll(".toc a")].map((link) => [link.hash.slice(1), link]));
  const sections = [...document.querySelectorAll("main > section")];
  const mark = () => {
    const line = innerHeight * 0.3;
    const current = sections.filter((each) => each.getBoundingClientRect().top <= line).pop();
    for (const [id, link] of links) {
      if (current && id === current.id) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  };
  addEventListener("scroll", mark, { passive: true });
  mark();

  const box = find("mapbox");
  if (!box) return;
  const map = box.querySelector("svg"), tip = find("tip"), thumb = find("thumb");
  const data = JSON.parse(find("points").textContent);
  const circles = new Map([...map.querySelectorAll("circle")].map((each) => [Number(each.dataset.i), each]));
  const scale = 96 / data.tile;
  let at = -1;
  const leave = () => {
    tip.hidden = true;
    circles.get(at)?.classList.remove("at");
    at = -1;
  };
  const show = (number) => {
    if (number === at) return;
    leave();
    const circle = circles.get(number);
    if (!circle) return;
    at = number;
    circle.classList.add("at");
    const [id, label, said, wrong] = data.points[number];
    find("tip-said").textContent = "said " + said;
    find("tip-said").className = wrong ? "wrong" : "";
    find("tip-label").textContent = "is " + label;
    find("tip-id").textContent = id;
    thumb.hidden = !data.sheet;
    if (data.sheet) {
      const rows = Math.ceil(data.shown / data.columns);
      thumb.style.backgroundSize = `${data.columns * data.tile * scale}px ${rows * data.tile * scale}px`;
      thumb.style.backgroundPosition = `${-(number % data.columns) * 96}px ${-Math.floor(number / data.columns) * 96}px`;
    }
    tip.hidden = false;
    const outer = box.getBoundingClientRect(), dot = circle.getBoundingClientRect();
    const x = dot.left - outer.left + dot.width / 2, y = dot.top - outer.top + dot.height / 2;
    const left = x + 14 + tip.offsetWidth > outer.width ? x - 14 - tip.offsetWidth : x + 14;
    tip.style.left = Math.max(4, Math.min(left, outer.width - tip.offsetWidth - 4)) + "px";
    tip.style.top = Math.max(4, Math.min(y - 20, outer.height - tip.offsetHeight - 4)) + "px";
  };
  const order = [...circles.keys()].sort((a, b) => circles.get(a).cx.baseVal.value - circles.get(b).cx.baseVal.value);
  const nearest = (event) => {
    const place = map.createSVGPoint();
    place.x = event.clientX;
    place.y = event.clientY;
    const here = place.matrixTransform(map.getScreenCTM().inverse());
    let best = -1, least = 30 * 30;
    for (const [number, circle] of circles) {
      const dx = circle.cx.baseVal.value - here.x, dy = circle.cy.baseVal.value - here.y, far = dx * dx + dy * dy;
      if (far < least) { least = far; best = number; }
    }
    return best;
  };
  const point = (event) => { const number = nearest(event); if (number < 0) leave(); else show(number); };
  map.addEventListener("pointermove", point);
  map.addEventListener("pointerdown", point);
  box.addEventListener("pointerleave", leave);
  box.addEventListener("blur", leave);
  box.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") leave();
    if (!step) return;
    event.preventDefault();
    const place = at < 0 ? (step > 0 ? -1 : 0) : order.indexOf(at);
    show(order[(place + step + order.length) % order.length]);
  });
  find("legend")?.addEventListener("click", (event) => {
    const chosen = event.target.closest("button");
    if (!chosen) return;
    const on = chosen.getAttribute("aria-pressed") !== "true";
    chosen.setAttribute("aria-pressed", String(on));
    const lit = new Set([...find("legend").querySelectorAll('[aria-pressed="true"]')].map((each) => each.dataset.c));
    map.classList.toggle("some", lit.size > 0);
    for (const circle of circles.values()) circle.classList.toggle("lit", [...lit].some((name) => circle.classList.contains(name)));
  });
})();
