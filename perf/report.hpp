// SPDX-License-Identifier: Apache-2.0
// What a command has measured, and how it is printed: a table for people (on a terminal, or as
// Markdown to be kept), CSV or JSON for programs.
#pragma once

#include <cstdint>
#include <memory>
#include <ostream>
#include <string>
#include <variant>
#include <vector>

namespace CLI {
class App;
}

namespace attnrt::perf {

/// monostate is "not measured": "-" in a table, empty in CSV, null in JSON.
using Value = std::variant<std::monostate, bool, int64_t, double, std::string>;

/// Something true of the whole run: machine, build, probe results.
struct Fact {
  std::string key;    // of JSON: "isa_reason"
  std::string title;  // of the table: "ISA"
  Value value;
};

struct Column {
  std::string key;    // of CSV and JSON: "median_us"; carries the unit
  std::string title;  // of the table: "median"
  std::string unit;   // of the table: "us"
  int decimals = 2;   // of doubles in the table; CSV and JSON keep all digits
  bool in_table = true;
  std::string section = {};  // vertical reports only: starts a new group of lines where it changes
};

/// Rows may be added one by one: what is there when a command ends early is what gets printed.
struct Report {
  std::vector<Fact> environment;
  std::vector<Column> columns;
  std::vector<std::vector<Value>> rows;  // one value per column
  bool vertical = false;                 // table: one line per column (few rows, many columns)
  std::vector<std::string> notes;        // tables only: sentences below it
};

enum class Format : uint8_t { kTable, kCsv, kJson, kMarkdown };

/// JSON is {"environment": {fact: value, ..}, "rows": [{column: value, ..}, ..]}.
void write_report(std::ostream& out, const Report& report, Format format);

/// --format and --output, the same for every command.
struct OutputOptions {
  Format format = Format::kTable;
  std::string file;  // empty: standard output
};
/// The help names options.format as the default.
void add_output_options(CLI::App& app, OutputOptions& options);

/// The stream that a report goes to. Opened before any work is done, so that a file that cannot
/// be written is BadInput at once and no measurement is lost.
class ReportOutput {
 public:
  ReportOutput(const OutputOptions& options, std::ostream& standard_output);
  ~ReportOutput();

  /// Throws std::runtime_error if the file could not be written to its end.
  void write(const Report& report);

 private:
  Format format_;
  std::string file_;
  std::unique_ptr<std::ostream> owned_;
  std::ostream* out_;
};

}  // namespace attnrt::perf
