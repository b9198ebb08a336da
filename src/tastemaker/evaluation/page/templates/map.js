(function () {
  var box = document.getElementById("map");
  if (!box) return;
  var drawing = box.querySelector("svg"), label = box.querySelector("output"), dots = [].slice.call(drawing.querySelectorAll("circle"));
  var places = dots.map(function (dot) { return [parseFloat(dot.getAttribute("cx")) / 100, parseFloat(dot.getAttribute("cy")) / 100]; });
  var marked = null;
  function leave() { if (marked) marked.classList.remove("at"); marked = null; label.style.display = "none"; }
  function point(event) {
    var frame = drawing.getBoundingClientRect(), x = event.clientX - frame.left, y = event.clientY - frame.top, best = -1, least = 400;
    places.forEach(function (place, n) {
      var far = Math.pow(place[0] * frame.width - x, 2) + Math.pow(place[1] * frame.height - y, 2);
      if (far < least) { least = far; best = n; }
    });
    leave();
    if (best < 0) return;
    marked = dots[best];
    marked.classList.add("at");
    label.textContent = marked.getAttribute("data-name") + " (" + marked.getAttribute("data-more") + ")";
    label.style.display = "block";
    var left = places[best][0] * frame.width, top = places[best][1] * frame.height;
    label.style.left = Math.max(4, Math.min(left + 10, frame.width - label.offsetWidth - 4)) + "px";
    label.style.top = (top + 14 + label.offsetHeight > frame.height ? top - label.offsetHeight - 10 : top + 12) + "px";
  }
  box.addEventListener("pointermove", point);
  box.addEventListener("pointerdown", point);
  box.addEventListener("pointerleave", leave);
})();
