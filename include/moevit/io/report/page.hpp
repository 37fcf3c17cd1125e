/// The HTML page around a report: style sheet for light and dark, head, sections, tables.
#pragma once

#include <moevit/io/report/markup.hpp>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace moevit::report {

inline constexpr std::string_view style_sheet = R"css(
:root { color-scheme: light dark; --paper: #fbfbf9; --card: #ffffff; --ink: #1c1e21; --soft: #5d646d; --rule: #dcdfe3;
  --accent: #1f5fa8; --second: #d55e00; --heat: #1f5fa8; --on-heat: #ffffff; --blank: #ffffff; --hatch: #b9bec5; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --paper: #16181b; --card: #1e2125; --ink: #e7e9ec; --soft: #a0a7b0; --rule: #363b42;
  --accent: #6fb1f5; --second: #f2914a; --heat: #6fb1f5; --on-heat: #10151b; --blank: #24282d; --hatch: #59616b; --bad: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, "Segoe UI", Roboto, "Helvetica Neue",
  "Liberation Sans", Arial, sans-serif; font-variant-numeric: tabular-nums; }
main { max-width: 1120px; margin: 0 auto; padding: 40px 28px 72px; }
h1 { font-size: 30px; line-height: 1.2; letter-spacing: -0.015em; margin: 0 0 6px; }
h2 { font-size: 21px; line-height: 1.3; letter-spacing: -0.01em; margin: 52px 0 6px; }
h3 { font-size: 15px; margin: 0 0 10px; font-weight: 600; }
p { max-width: 78ch; margin: 6px 0 16px; }
.lead, figcaption, .note { color: var(--soft); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(160px, 1fr)); gap: 12px; margin: 24px 0 0; }
.tile { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 12px 16px; }
.tile b { display: block; font-size: 22px; font-weight: 600; letter-spacing: -0.01em; }
.tile span { color: var(--soft); font-size: 13.5px; }
.cards { display: flex; flex-wrap: wrap; gap: 16px; }
.card { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 16px 18px; max-width: 100%; overflow-x: auto; }
figure { margin: 0; } figcaption { font-size: 13.5px; line-height: 1.4; margin-top: 6px; max-width: 46ch; }
.row { display: flex; flex-wrap: wrap; gap: 12px; } .row figcaption { margin-top: 3px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 14.5px; } th { text-align: left; font-weight: 600; color: var(--soft); font-size: 13.5px; }
th, td { padding: 5px 18px 5px 0; vertical-align: middle; } tbody tr { border-top: 1px solid var(--rule); }
td.number, th.number { text-align: right; }
.pictures td { padding: 6px 10px 6px 0; } .pictures td { white-space: nowrap; } .pictures th { vertical-align: bottom; white-space: nowrap; }
.wrong { color: var(--bad); }
.legend { display: flex; flex-wrap: wrap; gap: 6px 16px; margin: 0 0 14px; padding: 0; list-style: none; font-size: 13.5px; color: var(--soft); }
.legend li { display: flex; align-items: center; gap: 6px; }
.swatch { width: 14px; height: 14px; border-radius: 3px; display: inline-block; flex: none; }
.swatch.blank { background: repeating-linear-gradient(45deg, var(--hatch) 0 1.5px, var(--blank) 1.5px 5px); border: 1px solid var(--rule); }
.swatch.outline { border: 1.5px solid var(--ink); } .swatch.limit, .swatch.even { height: 0; border-radius: 0; width: 22px; border-top: 2px dashed var(--second); }
.swatch.even { border-top: 2px dotted var(--soft); }
.chip { display: inline-block; min-width: 26px; text-align: center; border-radius: 6px; padding: 1px 6px; color: #16181b; font-weight: 600; }
svg { display: block; } svg text { font: 12px system-ui, "Liberation Sans", Arial, sans-serif; fill: var(--soft); }
svg .middle { text-anchor: middle; } svg .end { text-anchor: end; } svg .name { fill: var(--ink); } svg .small { font-size: 11px; fill: var(--ink); }
svg .on-heat { fill: var(--on-heat); font-size: 11px; font-weight: 600; }
.pixels { image-rendering: pixelated; } .patch { fill-opacity: 0.62; stroke: #0003; stroke-width: 0.5; } .blank { fill: var(--blank); }
.patch-number text { font-size: 9.5px; font-weight: 600; fill: #fff; text-anchor: middle; paint-order: stroke; stroke: #000a; stroke-width: 2.2px; }
.box { fill: none; stroke-width: 2; } .truth { stroke-dasharray: 5 3; stroke-width: 1.5; }
.box-names text { font-size: 11px; font-weight: 600; paint-order: stroke; stroke: #000c; stroke-width: 2.6px; }
.grid { stroke: var(--rule); } .outline { fill: none; stroke: var(--ink); stroke-width: 1.4; }
.limit { stroke: var(--second); stroke-width: 2; stroke-dasharray: 7 4; } .even { stroke: var(--soft); stroke-width: 1.6; stroke-dasharray: 2 4; }
.heat { fill: var(--heat); } .series-a { fill: var(--accent); fill-opacity: 0.85; } .series-b { fill: var(--second); fill-opacity: 0.7; }
.line { fill: none; stroke-width: 2.4; } .vanilla { stroke: var(--second); } .priority { stroke: var(--accent); }
.dot { stroke-width: 2; } .dot.vanilla { fill: var(--card); } .dot.priority { fill: var(--accent); }
footer { margin-top: 56px; color: var(--soft); font-size: 13.5px; }
)css";

/// Collects the sections of a page.
class Page {
 public:
  explicit Page(std::string_view title)
      : text_(join("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                   "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>",
                   escape(title), "</title>\n<style>", style_sheet, "</style>\n</head>\n<body>\n<main>\n")) {}

  /// Markup as it is.
  void add(std::string_view markup) { text_ += markup, text_ += '\n'; }

  /// A heading with an id to link to, and what there is to see below it.
  void section(std::string_view id, std::string_view heading, std::string_view explanation) {
    add(join("<h2 id=\"", id, "\">", escape(heading), "</h2>\n<p>", explanation, "</p>"));
  }

  void open_cards() { add("<div class=\"cards\">"); }
  void close_cards() { add("</div>"); }
  /// A card with a heading, a drawing, and a sentence below it.
  void card(std::string_view heading, std::string_view drawing, std::string_view caption = {}) {
    add(join("<div class=\"card\"><h3>", escape(heading), "</h3><figure>", drawing,
             caption.empty() ? std::string() : join("<figcaption>", caption, "</figcaption>"), "</figure></div>"));
  }

  std::string finish() && {
    text_ += "</main>\n</body>\n</html>\n";
    return std::move(text_);
  }

 private:
  std::string text_;
};

/// One entry of a legend: a coloured square or a class of the style sheet, and its meaning.
inline std::string legend_entry(std::string_view look, std::string_view meaning) {
  const bool is_colour = look.starts_with('#') || look.starts_with("var");
  return join("<li><span class=\"swatch", is_colour ? "" : " ", is_colour ? "" : look, "\"",
              is_colour ? join(" style=\"background:", look, "\"") : std::string(), "></span>", meaning, "</li>");
}

inline std::string legend(const std::vector<std::string>& entries) {
  std::string text = "<ul class=\"legend\">";
  for (const std::string& entry : entries) text += entry;
  return text + "</ul>";
}

}  // namespace moevit::report
