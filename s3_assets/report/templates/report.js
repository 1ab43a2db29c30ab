"use strict";
// Texts of points are shown on pointing and by keys; without this script they are the titles of the marks.
(() => {
  const box = document.getElementById("map-box");
  if (!box) return;
  const svg = box.querySelector("svg"), tip = document.getElementById("map-tip"), NS = "http://www.w3.org/2000/svg";
  const points = [...svg.querySelectorAll(".point")].map((node) => {
    const mark = node.querySelector("use"), title = node.querySelector("title"), lines = title.textContent.split("\n");
    // Or the browser would show the text a second time.
    title.remove();
    const key = node.closest("[id^=s3-map-]").id.slice("s3-map-".length);
    return { node, lines, key, x: +mark.getAttribute("x"), y: +mark.getAttribute("y") };
  });
  const ring = document.createElementNS(NS, "circle");
  ring.setAttribute("class", "ring");
  ring.setAttribute("r", "6.5");
  ring.setAttribute("visibility", "hidden");
  svg.append(ring);
  const hidden = new Set();
  let shown = points, current = null;

  // A picture has no parts to go to; a group has.
  svg.setAttribute("role", "group");
  svg.setAttribute("aria-describedby", "map-keys");
  for (const point of points) {
    point.node.setAttribute("tabindex", "-1");
    point.node.setAttribute("role", "img");
    point.node.setAttribute("aria-label", point.lines.join(". "));
  }
  for (const part of document.querySelectorAll(".controls:not(#map-tip)")) part.hidden = false;

  function tabStop(point) {
    for (const other of svg.querySelectorAll('.point[tabindex="0"]')) other.setAttribute("tabindex", "-1");
    if (point) point.node.setAttribute("tabindex", "0");
  }
  function close() {
    tip.hidden = true;
    ring.setAttribute("visibility", "hidden");
    current = null;
  }
  function show(point) {
    current = point;
    const [head, said, ...rest] = point.lines, text = document.createElement("div");
    const first = document.createElement("b"), second = document.createElement("span");
    first.textContent = head;
    second.textContent = said;
    text.textContent = rest.join("\n");
    for (const line of [first, second, text]) line.dir = "auto";
    tip.replaceChildren(first, second, text);
    tip.hidden = false;
    ring.setAttribute("cx", point.x);
    ring.setAttribute("cy", point.y);
    ring.setAttribute("visibility", "visible");
    const frame = box.getBoundingClientRect(), mark = ring.getBoundingClientRect();
    const x = mark.left + mark.width / 2 - frame.left, y = mark.top - frame.top;
    tip.style.left = Math.max(0, Math.min(x - tip.offsetWidth / 2, frame.width - tip.offsetWidth)) + "px";
    const above = y - tip.offsetHeight - 8;
    tip.style.top = (above >= 0 ? above : y + mark.height + 8) + "px";
  }
  function go(point) {
    if (!point) return;
    tabStop(point);
    point.node.focus({ preventScroll: true });
    point.node.querySelector("use").scrollIntoView({ block: "nearest", inline: "nearest" });
    show(point);
  }
  function towards(from, dx, dy) {
    let best = null, least = Infinity;
    for (const point of shown) {
      const along = (point.x - from.x) * dx + (point.y - from.y) * dy;
      const across = Math.abs((point.x - from.x) * dy) + Math.abs((point.y - from.y) * dx);
      if (along <= 0 || across > 2 * along) continue;
      if (along + 2 * across < least) [best, least] = [point, along + 2 * across];
    }
    return best;
  }
  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  svg.addEventListener("keydown", (event) => {
    const at = shown.find((point) => point.node === document.activeElement);
    if (!at || event.ctrlKey || event.altKey || event.metaKey) return;
    const place = shown.indexOf(at), last = shown.length - 1;
    if (event.key in steps) go(towards(at, ...steps[event.key]));
    else if (event.key === "PageDown") go(shown[Math.min(place + 1, last)]);
    else if (event.key === "PageUp") go(shown[Math.max(place - 1, 0)]);
    else if (event.key === "Home") go(shown[0]);
    else if (event.key === "End") go(shown[last]);
    else return;
    event.preventDefault();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
  });
  // On the box: an SVG that listens for focus is itself a stop of Tab in Chromium.
  box.addEventListener("focusin", (event) => {
    const point = points.find((one) => one.node === event.target);
    if (point) show(point);
  });
  box.addEventListener("focusout", close);
  function nearest(event) {
    const there = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    let best = null, least = 81;
    for (const point of shown) {
      const distance = (point.x - there.x) ** 2 + (point.y - there.y) ** 2;
      if (distance < least) [best, least] = [point, distance];
    }
    return best;
  }
  for (const name of ["pointermove", "pointerdown"]) {
    svg.addEventListener(name, (event) => {
      const point = nearest(event);
      if (point && point !== current) show(point);
      else if (!point && !svg.contains(document.activeElement)) close();
    });
  }
  svg.addEventListener("pointerleave", () => {
    if (!svg.contains(document.activeElement)) close();
  });
  document.getElementById("map-series").addEventListener("change", (event) => {
    const { value, checked } = event.target;
    if (checked) hidden.delete(value);
    else hidden.add(value);
    document.getElementById("s3-map-" + value).style.display = checked ? "" : "none";
    shown = points.filter((point) => !hidden.has(point.key));
    close();
    tabStop(shown[shown.length - 1]);
  });
  // Errors are drawn last: the first thing that Tab comes to is one of them.
  tabStop(shown[shown.length - 1]);
})();
