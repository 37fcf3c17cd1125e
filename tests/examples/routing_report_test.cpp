// routing_report: one self-contained page with all its sections.
#include "examples/run_program.hpp"

#include <regex>

using namespace moevit::test;

namespace {

/// Class folders with a few images each.
std::string write_classes(const TemporaryFolder& folder) {
  for (const char* name : {"Bag", "Sandal", "Coat"})
    for (int i = 0; i < 3; ++i)
      write_pgm(folder / ("classes/" + std::string(name) + "/" + std::to_string(i) + ".pgm"), i);
  return (folder / "classes").string();
}

std::string report_of(const std::string& weights, const std::vector<std::string>& more) {
  const TemporaryFolder folder;
  std::vector<std::string> arguments{
      "-w", weights, "-o", (folder / "report.html").string(), "--title", "A <title> & more", write_classes(folder)};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const ProgramResult result = run_program(MOEVIT_ROUTING_REPORT_PROGRAM, arguments);
  INFO(result.errors);
  REQUIRE(result.code == 0);
  CHECK(result.output == (folder / "report.html").string() + "\n");
  return read_text(folder / "report.html");
}

/// Everything that a browser would fetch must be inside the page.
void check_self_contained(const std::string& html) {
  const std::regex reference("(src|href|url)\\s*[=(]\\s*[\"']?([^\"')\\s>]*)");
  for (std::sregex_iterator match(html.begin(), html.end(), reference), end; match != end; ++match) {
    const std::string target = (*match)[2];
    INFO(target.substr(0, 80));
    CHECK((target.starts_with("#") || target.starts_with("data:image/png;base64,")));
  }
  for (const char* fetched : {"http://", "https://", "@import", "<script", "<link", "<iframe"})
    CHECK(html.find(fetched) == std::string::npos);
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

}  // namespace

TEST_CASE("the report of a V-MoE is self-contained and has all its sections") {
  const std::string html = report_of(fashion_vmoe(), {"--ratios", "0.1,0.5,1", "--pictures", "6"});
  check_self_contained(html);
  for (const char* id : {"patches", "dropped", "load", "classes", "gates", "capacity", "positions"})
    CHECK(count(html, std::string("<h2 id=\"") + id + "\">") == 1);
  CHECK(count(html, "<image id=") == 6);
  CHECK(count(html, "aria-label=\"Load of the experts of block") == 2);
  CHECK(count(html, "A &lt;title&gt; &amp; more") == 2);
  CHECK(html.find("A <title>") == std::string::npos);
  CHECK(count(html, "<svg") == count(html, "</svg>"));
}

TEST_CASE("the report of a Mobile V-MoE shows images by expert and no capacity") {
  const std::string html = report_of(fashion_mobile_vmoe(), {});
  check_self_contained(html);
  for (const char* id : {"images", "load", "classes", "gates"})
    CHECK(count(html, std::string("<h2 id=\"") + id + "\">") == 1);
  CHECK(count(html, "<h2 id=\"capacity\">") == 0);
  CHECK(html.find("blocks 2, 3") != std::string::npos);
}

TEST_CASE("routing_report fails with a message and leaves no file when there is nothing to report") {
  const TemporaryFolder folder;
  const std::string output = (folder / "report.html").string();
  const ProgramResult result = run_program(MOEVIT_ROUTING_REPORT_PROGRAM,
                                           {"-w", fashion_vmoe(), "-o", output, "--limit", "0", write_classes(folder)});
  CHECK(result.code == 1);
  CHECK(result.errors.find("nothing to report") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(output));
}
