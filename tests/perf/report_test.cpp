// SPDX-License-Identifier: Apache-2.0
// The formats of a report, byte by byte where people and programs rely on it.
#include "perf/report.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "perf/cli.hpp"

namespace perf = attnrt::perf;
using perf::Format;
using perf::Report;

namespace {

Report two_rows() {
  Report report;
  report.environment = {{"cpu", "CPU", std::string("a, b")}, {"threads", "threads", int64_t{2}}};
  report.columns = {{"name", "name", "", 0, true, "A"},
                    {"median_us", "median", "us", 1, true, "A"},
                    {"limit_percent", "limit", "%", 1, true, "B"},
                    {"seed", "", "", 0, false, "B"}};
  report.rows = {{std::string("x"), 1234.56, {}, int64_t{1}},
                 {std::string("long"), 2.0, 50.04, int64_t{1234567}}};
  return report;
}

std::string written(const Report& report, Format format) {
  std::ostringstream out;
  perf::write_report(out, report, format);
  return out.str();
}

}  // namespace

TEST_CASE("a table aligns columns and marks what was not measured") {
  CHECK(written(two_rows(), Format::kTable) ==
        "  CPU      a, b\n"
        "  threads  2\n"
        "\n"
        "  name   median  limit\n"
        "             us      %\n"
        "  x     1,234.6      -\n"
        "  long      2.0   50.0\n"
        "\n");
}

TEST_CASE("a vertical table has a line per column under its section") {
  Report report = two_rows();
  report.vertical = true;
  report.environment.clear();
  report.rows.resize(1);
  report.notes = {"A note."};
  CHECK(written(report, Format::kTable) ==
        "A\n"
        "  name    x\n"
        "  median  1,234.6 us\n"
        "\n"
        "B\n"
        "  limit         - %\n"
        "\n"
        "A note.\n");
}

TEST_CASE("large counts are grouped for people only") {
  Report report;
  report.columns = {{"n", "n", "", 0, true, ""}, {"m", "m", "", 0, true, ""}};
  report.rows = {{int64_t{1234567}, int64_t{-999}}};
  CHECK(written(report, Format::kTable).find("1,234,567  -999") != std::string::npos);
  CHECK(written(report, Format::kCsv) == "n,m\n1234567,-999\n");
}

TEST_CASE("CSV keeps all digits, quotes and leaves empty what was not measured") {
  Report report = two_rows();
  report.rows[0][0] = std::string("say \"hi\", you");
  CHECK(written(report, Format::kCsv) ==
        "# cpu: \"a, b\"\n"
        "# threads: 2\n"
        "name,median_us,limit_percent,seed\n"
        "\"say \"\"hi\"\", you\",1234.56,,1\n"
        "long,2,50.04,1234567\n");
}

TEST_CASE("Markdown has what the table has, and no cell ends early") {
  Report report = two_rows();
  report.rows[0][0] = std::string("a|b");
  report.notes = {"A note."};
  CHECK(written(report, Format::kMarkdown) ==
        "- CPU: a, b\n"
        "- threads: 2\n"
        "\n"
        "| name | median, us | limit, % |\n"
        "|---|---|---|\n"
        "| a\\|b | 1,234.6 | - |\n"
        "| long | 2.0 | 50.0 |\n"
        "\n"
        "A note.\n");
}

TEST_CASE("JSON has an environment and rows") {
  Report report = two_rows();
  report.rows[1][1] = std::nan("");
  report.rows[1][0] = std::string("\xff");
  const auto json = nlohmann::json::parse(written(report, Format::kJson));
  CHECK(json.at("environment").at("threads") == 2);
  REQUIRE(json.at("rows").size() == 2);
  CHECK(json["rows"][0]["median_us"] == 1234.56);
  CHECK(json["rows"][0]["limit_percent"].is_null());
  CHECK(json["rows"][1]["median_us"].is_null());
  CHECK(json["rows"][1]["seed"] == 1234567);
}

TEST_CASE("no rows are an empty list") {
  CHECK(nlohmann::json::parse(written(Report{}, Format::kJson)).at("rows").empty());
  CHECK(written(Report{}, Format::kCsv) == "\n");
}

TEST_CASE("reports go to a file, and a file that cannot be written is refused at once") {
  std::ostringstream out;
  CHECK_THROWS_WITH_AS(perf::ReportOutput({Format::kCsv, "/nowhere/at/all"}, out),
                       "--output: cannot write '/nowhere/at/all'", perf::BadInput);
  const std::string file =
      (std::filesystem::temp_directory_path() / ("attnrt_report_" + std::to_string(getpid())))
          .string();
  perf::ReportOutput({Format::kCsv, file}, out).write(two_rows());
  std::ifstream in(file);
  const std::string content((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  std::filesystem::remove(file);
  CHECK(content == written(two_rows(), Format::kCsv));
  CHECK(out.str().empty());
}
