// SPDX-License-Identifier: Apache-2.0
// Prints reports as tables, CSV and JSON.
#include "perf/report.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string_view>

#include "perf/cli.hpp"
#include "perf/parse.hpp"

namespace attnrt::perf {
namespace {

/// 1234567 as "1,234,567", so that a person can read it.
std::string grouped(int64_t value) {
  std::string digits = std::to_string(value);
  const size_t first = value < 0 ? 1 : 0;
  for (size_t at = digits.size(); at > first + 3;) {
    at -= 3;
    digits.insert(at, ",");
  }
  return digits;
}

/// The digits before the point grouped, too.
std::string grouped(double value, int decimals) {
  const std::string text = fmt::format("{:.{}f}", value, decimals);
  int64_t whole = 0;
  const size_t point = std::min(text.find('.'), text.size());
  // "-0.5" would lose its sign, and beyond int64 nobody reads digits.
  if (!parse_number(std::string_view(text).substr(0, point), whole) || std::abs(whole) < 1000) {
    return text;
  }
  return grouped(whole) + text.substr(point);
}

std::string shown(const Value& value, int decimals) {
  if (const auto* flag = std::get_if<bool>(&value)) return *flag ? "yes" : "no";
  if (const auto* number = std::get_if<int64_t>(&value)) return grouped(*number);
  if (const auto* number = std::get_if<double>(&value)) return grouped(*number, decimals);
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  return "-";
}

bool is_text(const Value& value) { return std::holds_alternative<std::string>(value); }

size_t widest(const std::vector<std::string>& texts) {
  size_t width = 0;
  for (const std::string& text : texts) width = std::max(width, text.size());
  return width;
}

void write_environment(std::ostream& out, const std::vector<Fact>& facts) {
  size_t width = 0;
  for (const Fact& fact : facts) width = std::max(width, fact.title.size());
  for (const Fact& fact : facts) {
    out << fmt::format("  {:<{}}  {}\n", fact.title, width, shown(fact.value, 1));
  }
  if (!facts.empty()) out << '\n';
}

void write_vertical(std::ostream& out, const Report& report) {
  size_t title_width = 0;
  for (const Column& column : report.columns) {
    if (column.in_table) title_width = std::max(title_width, column.title.size());
  }
  for (const std::vector<Value>& row : report.rows) {
    std::vector<std::string> texts;
    for (size_t i = 0; i < row.size(); ++i) {
      const bool number = report.columns[i].in_table && !is_text(row[i]);
      texts.push_back(number ? shown(row[i], report.columns[i].decimals) : std::string());
    }
    const size_t value_width = widest(texts);
    std::string section;
    for (size_t i = 0; i < row.size(); ++i) {
      const Column& column = report.columns[i];
      if (!column.in_table) continue;
      if (column.section != section) out << (section.empty() ? "" : "\n") << column.section << '\n';
      section = column.section;
      if (is_text(row[i])) {
        out << fmt::format("  {:<{}}  {}\n", column.title, title_width, shown(row[i], 0));
      } else {
        out << fmt::format("  {:<{}}  {:>{}}{}{}\n", column.title, title_width, texts[i],
                           value_width, column.unit.empty() ? "" : " ", column.unit);
      }
    }
    out << '\n';
  }
}

void write_horizontal(std::ostream& out, const Report& report) {
  std::vector<size_t> indices;
  for (size_t i = 0; i < report.columns.size(); ++i) {
    if (report.columns[i].in_table) indices.push_back(i);
  }
  std::vector<std::string> lines(report.rows.size() + 2);
  for (const size_t i : indices) {
    const Column& column = report.columns[i];
    std::vector<std::string> cells{column.title, column.unit};
    bool text = false;
    for (const std::vector<Value>& row : report.rows) {
      cells.push_back(shown(row[i], column.decimals));
      text = text || is_text(row[i]);
    }
    const size_t width = widest(cells);
    for (size_t line = 0; line < cells.size(); ++line) {
      lines[line] += text ? fmt::format("  {:<{}}", cells[line], width)
                          : fmt::format("  {:>{}}", cells[line], width);
    }
  }
  for (std::string& line : lines) {
    line.erase(line.find_last_not_of(' ') + 1);
    out << line << '\n';
  }
  out << '\n';
}

// A bar would end the cell.
std::string markdown_cell(const Value& value, int decimals) {
  std::string text = shown(value, decimals);
  for (size_t at = 0; (at = text.find('|', at)) != std::string::npos; at += 2)
    text.insert(at, 1, '\\');
  return text;
}

void write_markdown(std::ostream& out, const Report& report) {
  for (const Fact& fact : report.environment) {
    out << fmt::format("- {}: {}\n", fact.title, shown(fact.value, 1));
  }
  out << "\n|";
  for (const Column& column : report.columns) {
    if (!column.in_table) continue;
    out << ' ' << column.title << (column.unit.empty() ? "" : ", " + column.unit) << " |";
  }
  out << "\n|";
  for (const Column& column : report.columns) {
    if (column.in_table) out << "---|";
  }
  for (const std::vector<Value>& row : report.rows) {
    out << "\n|";
    for (size_t i = 0; i < row.size(); ++i) {
      const Column& column = report.columns[i];
      if (column.in_table) out << ' ' << markdown_cell(row[i], column.decimals) << " |";
    }
  }
  out << '\n';
  for (const std::string& note : report.notes) out << '\n' << note << '\n';
}

std::string csv_text(const std::string& text) {
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

std::string csv_value(const Value& value) {
  if (const auto* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  if (const auto* number = std::get_if<int64_t>(&value)) return std::to_string(*number);
  if (const auto* number = std::get_if<double>(&value)) return fmt::format("{}", *number);
  if (const auto* text = std::get_if<std::string>(&value)) return csv_text(*text);
  return {};
}

void write_csv(std::ostream& out, const Report& report) {
  for (const Fact& fact : report.environment) {
    out << "# " << fact.key << ": " << csv_value(fact.value) << '\n';
  }
  for (size_t i = 0; i < report.columns.size(); ++i) {
    out << (i == 0 ? "" : ",") << csv_text(report.columns[i].key);
  }
  out << '\n';
  for (const std::vector<Value>& row : report.rows) {
    for (size_t i = 0; i < row.size(); ++i) out << (i == 0 ? "" : ",") << csv_value(row[i]);
    out << '\n';
  }
}

nlohmann::ordered_json json_value(const Value& value) {
  if (const auto* flag = std::get_if<bool>(&value)) return *flag;
  if (const auto* number = std::get_if<int64_t>(&value)) return *number;
  if (const auto* number = std::get_if<double>(&value)) {
    // JSON has no infinity and no NaN.
    if (std::isfinite(*number)) return *number;
    return nullptr;
  }
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  return nullptr;
}

void write_json(std::ostream& out, const Report& report) {
  nlohmann::ordered_json document;
  document["environment"] = nlohmann::ordered_json::object();
  for (const Fact& fact : report.environment) {
    document["environment"][fact.key] = json_value(fact.value);
  }
  document["rows"] = nlohmann::ordered_json::array();
  for (const std::vector<Value>& row : report.rows) {
    nlohmann::ordered_json object = nlohmann::ordered_json::object();
    for (size_t i = 0; i < row.size(); ++i) object[report.columns[i].key] = json_value(row[i]);
    document["rows"].push_back(std::move(object));
  }
  // Names of files may be no UTF-8; they must not cost the measurement.
  out << document.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << '\n';
}

}  // namespace

void write_report(std::ostream& out, const Report& report, Format format) {
  if (format == Format::kJson) return write_json(out, report);
  if (format == Format::kCsv) return write_csv(out, report);
  if (format == Format::kMarkdown) return write_markdown(out, report);
  write_environment(out, report.environment);
  report.vertical ? write_vertical(out, report) : write_horizontal(out, report);
  for (const std::string& note : report.notes) out << note << '\n';
}

void add_output_options(CLI::App& app, OutputOptions& options) {
  static const std::map<std::string, Format> kFormats{{"table", Format::kTable},
                                                      {"markdown", Format::kMarkdown},
                                                      {"csv", Format::kCsv},
                                                      {"json", Format::kJson}};
  const char* const help = options.format == Format::kMarkdown
                               ? "table (for people), markdown, csv or json [markdown]"
                               : "table (for people), markdown, csv or json [table]";
  app.add_option_function<std::string>(
         "--format",
         [&options](const std::string& name) {
           const auto found = kFormats.find(name);
           if (found == kFormats.end()) {
             throw BadInput("--format is '" + name + "'; known: table, markdown, csv, json");
           }
           options.format = found->second;
         },
         help)
      ->type_name("NAME");
  app.add_option("--output", options.file, "write the report to this file [standard output]")
      ->type_name("FILE");
}

ReportOutput::ReportOutput(const OutputOptions& options, std::ostream& standard_output)
    : format_(options.format), file_(options.file), out_(&standard_output) {
  if (file_.empty()) return;
  owned_ = std::make_unique<std::ofstream>(file_, std::ios::trunc);
  out_ = owned_.get();
  if (!*out_) throw BadInput("--output: cannot write '" + file_ + "'");
}

ReportOutput::~ReportOutput() = default;

void ReportOutput::write(const Report& report) {
  write_report(*out_, report, format_);
  out_->flush();
  if (!*out_) {
    throw std::runtime_error("writing the report to " +
                             (file_.empty() ? "standard output" : "'" + file_ + "'") + " failed");
  }
}

}  // namespace attnrt::perf
