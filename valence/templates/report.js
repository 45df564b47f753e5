(function () {
  var dark = window.matchMedia("(prefers-color-scheme: dark)");
  var config = { displaylogo: false, modeBarButtons: [["toImage"]], scrollZoom: false };

  function colours(layout) {
    var style = getComputedStyle(document.documentElement);
    var text = style.getPropertyValue("--text").trim(), card = style.getPropertyValue("--card").trim();
    layout.font = Object.assign({}, layout.font, { color: text });
    layout.hoverlabel = Object.assign({}, layout.hoverlabel, { bgcolor: card, bordercolor: text, font: { color: text } });
    layout.modebar = { bgcolor: "rgba(0,0,0,0)", color: style.getPropertyValue("--soft").trim(), activecolor: text };
    return layout;
  }

  function draw(holder) {
    var figure = JSON.parse(document.getElementById(holder.id + "-json").textContent);
    var image = { format: "svg", filename: holder.id, width: 900, height: figure.layout.height };
    Plotly.react(holder, figure.data, colours(figure.layout), Object.assign({ toImageButtonOptions: image }, config));
  }

  // A figure is drawn when it comes near the screen, since a sweep can have dozens, and follows its holder's width.
  var holders = Array.from(document.querySelectorAll(".figure")), drawn = new Set();
  var widths = new ResizeObserver(function (entries) {
    entries.forEach(function (entry) { Plotly.Plots.resize(entry.target); });
  });
  var near = new IntersectionObserver(function (entries) {
    entries.forEach(function (entry) { if (entry.isIntersecting) show(entry.target); });
  }, { rootMargin: "1500px" });

  function show(holder) {
    if (drawn.has(holder)) return;
    drawn.add(holder);
    near.unobserve(holder);
    draw(holder);
    widths.observe(holder);
  }

  holders.forEach(function (holder) { near.observe(holder); });
  window.addEventListener("beforeprint", function () { holders.forEach(show); });
  dark.addEventListener("change", function () { drawn.forEach(draw); });
})();
