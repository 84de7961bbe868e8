(() => {
  "use strict";
  const dark = window.matchMedia("(prefers-color-scheme: dark)");

  // Charts have transparent backgrounds; only their inks and ramps depend on the theme.
  const paint = (doc) => {
    const style = getComputedStyle(document.documentElement);
    const soft = style.getPropertyValue("--soft").trim();
    for (const plot of doc.roots()) {
      for (const side of [...plot.above, ...plot.below, ...plot.left, ...plot.right, ...plot.center]) {
        switch (side.type) {
          case "Legend": side.label_text_color = soft; break;
          case "ColorBar":
            side.major_label_text_color = side.title_text_color = soft;
            side.color_mapper.palette = gradfugaRamps[dark.matches ? "dark" : "light"];
            break;
          case "LinearAxis": case "LogAxis":
            side.major_label_text_color = side.axis_label_text_color = soft; break;
        }
      }
    }
  };

  // One selection: a table row and the charts' marks are the same indices of one source.
  const link = (doc) => {
    for (const table of document.querySelectorAll("table.layers")) {
      const source = doc.get_model_by_name(`layers-${table.dataset.training}`);
      const rows = [...table.tBodies[0].rows];
      const choose = (row) => {
        const index = Number(row.dataset.index);
        const marked = row.classList.contains("marked");
        if (source) source.selected.indices = marked ? [] : [index];
        else show(marked ? [] : [index]);
      };
      const show = (indices) => {
        const chosen = new Set(indices);
        rows.forEach((row, index) => {
          row.classList.toggle("marked", chosen.has(index));
          row.setAttribute("aria-pressed", String(chosen.has(index)));
        });
      };
      for (const row of rows) {
        row.addEventListener("click", () => choose(row));
        row.addEventListener("keydown", (event) => {
          if (event.key !== "Enter" && event.key !== " ") return;
          event.preventDefault();
          choose(row);
        });
      }
      if (!source) continue;
      source.selected.properties.indices.change.connect(() => {
        const indices = source.selected.indices;
        show(indices);
        const frame = table.parentElement;
        const row = rows[indices[0]];
        if (row) frame.scrollTop = row.offsetTop - frame.clientHeight / 2;
      });
    }
  };

  const begin = () => {
    const doc = window.Bokeh && Bokeh.documents[0];
    if (!doc || !doc.roots().length) return void requestAnimationFrame(begin);
    link(doc);
    paint(doc);
    dark.addEventListener("change", () => paint(doc));
  };
  begin();
})();
