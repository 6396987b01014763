// SPDX-License-Identifier: Apache-2.0
// Streaming parsers of the trace formats.
#include "perf/traces.hpp"

#include <fmt/format.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <system_error>

#include "perf/cli.hpp"
#include "perf/parse.hpp"

namespace attnrt::perf {
namespace {

constexpr std::string_view kAzureHeader = "TIMESTAMP,ContextTokens,GeneratedTokens";
constexpr std::string_view kVidurHeader = "num_prefill_tokens,num_decode_tokens,";

/// A line of the file, with what is needed to complain about it.
struct Line {
  const std::string& file;
  int64_t number;
  std::string_view text;

  [[noreturn]] void fail(std::string_view what) const {
    constexpr size_t kShown = 80;
    std::string shown;
    for (const char c : text.substr(0, kShown)) {
      const auto byte = static_cast<unsigned char>(c);
      shown += byte < 0x20 || byte == 0x7f ? fmt::format("\\x{:02x}", byte) : std::string(1, c);
    }
    throw BadInput(fmt::format("{}:{}: {}: '{}{}'", file, number, what, shown,
                               text.size() > kShown ? ".." : ""));
  }
};

std::vector<std::string_view> split_fields(std::string_view text) {
  std::vector<std::string_view> fields;
  for (;;) {
    const size_t comma = text.find(',');
    fields.push_back(text.substr(0, comma));
    if (comma == std::string_view::npos) return fields;
    text.remove_prefix(comma + 1);
  }
}

int32_t checked_tokens(const Line& line, std::string_view field, int64_t value, int64_t least) {
  if (value < least || value > kMaxSequenceTokens) {
    line.fail(
        fmt::format("{} is {}, it must be {} to {}", field, value, least, kMaxSequenceTokens));
  }
  return static_cast<int32_t>(value);
}

int32_t parse_tokens(const Line& line, std::string_view field, std::string_view text,
                     int64_t least) {
  int64_t value = 0;
  if (!parse_number(text, value)) line.fail(fmt::format("{} is no whole number", field));
  return checked_tokens(line, field, value, least);
}

/// Reads `digits` digits at the front of `text`, then `separator` (0: none).
bool take_digits(std::string_view& text, size_t digits, char separator, int64_t& value) {
  if (text.size() < digits + (separator != 0 ? 1 : 0)) return false;
  if (text[0] == '-' || !parse_number(text.substr(0, digits), value)) return false;
  text.remove_prefix(digits);
  if (separator == 0) return true;
  if (text[0] != separator) return false;
  text.remove_prefix(1);
  return true;
}

/// Optional fraction ".6805900": any number of digits.
bool take_fraction(std::string_view& text, double& seconds) {
  if (text.empty() || text[0] != '.') return true;
  text.remove_prefix(1);
  double unit = 0.1;
  size_t digits = 0;
  while (!text.empty() && text[0] >= '0' && text[0] <= '9') {
    seconds += unit * (text[0] - '0');
    unit *= 0.1;
    text.remove_prefix(1);
    ++digits;
  }
  return digits > 0;
}

/// Optional "+00:00" as in the Azure traces of 2024.
bool take_zone(std::string_view& text, double& seconds) {
  if (text.empty()) return true;
  const double sign = text[0] == '-' ? 1.0 : -1.0;
  if (text[0] != '+' && text[0] != '-') return false;
  text.remove_prefix(1);
  int64_t hours = 0;
  int64_t minutes = 0;
  if (!take_digits(text, 2, ':', hours) || !take_digits(text, 2, 0, minutes)) return false;
  seconds += sign * static_cast<double>(hours * 3600 + minutes * 60);
  return text.empty();
}

/// "2023-11-16 18:15:46.6805900" in seconds of the Unix epoch.
std::optional<double> parse_timestamp(std::string_view text) {
  int64_t year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0;
  if (!take_digits(text, 4, '-', year) || !take_digits(text, 2, '-', month) ||
      !take_digits(text, 2, ' ', day) || !take_digits(text, 2, ':', hour) ||
      !take_digits(text, 2, ':', minute) || !take_digits(text, 2, 0, second)) {
    return std::nullopt;
  }
  const std::chrono::year_month_day date{std::chrono::year(static_cast<int>(year)),
                                         std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok() || hour > 23 || minute > 59 || second > 60) return std::nullopt;
  const int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  auto seconds = static_cast<double>(days * 86400 + hour * 3600 + minute * 60 + second);
  if (!take_fraction(text, seconds) || !take_zone(text, seconds)) return std::nullopt;
  return seconds;
}

Request parse_azure(const Line& line) {
  const std::vector<std::string_view> fields = split_fields(line.text);
  if (fields.size() != 3) line.fail(fmt::format("expected 3 fields, got {}", fields.size()));
  const std::optional<double> time = parse_timestamp(fields[0]);
  if (!time) line.fail("TIMESTAMP is not like 2023-11-16 18:15:46.6805900");
  return {*time, parse_tokens(line, "ContextTokens", fields[1], 1),
          parse_tokens(line, "GeneratedTokens", fields[2], 0)};
}

Request parse_vidur(const Line& line) {
  const std::vector<std::string_view> fields = split_fields(line.text);
  if (fields.size() != 4) line.fail(fmt::format("expected 4 fields, got {}", fields.size()));
  return {0.0, parse_tokens(line, "num_prefill_tokens", fields[0], 1),
          parse_tokens(line, "num_decode_tokens", fields[1], 0)};
}

int32_t json_tokens(const Line& line, const nlohmann::json& object, const char* field,
                    int64_t least) {
  const auto found = object.find(field);
  if (found == object.end()) line.fail(fmt::format("no field \"{}\"", field));
  if (!found->is_number_integer()) line.fail(fmt::format("\"{}\" is no whole number", field));
  if (found->is_number_unsigned() && found->get<uint64_t>() > uint64_t{INT64_MAX}) {
    line.fail(fmt::format("\"{}\" is too large", field));
  }
  return checked_tokens(line, field, found->get<int64_t>(), least);
}

Request parse_mooncake(const Line& line) {
  const nlohmann::json object = nlohmann::json::parse(line.text.begin(), line.text.end(), nullptr,
                                                      /*allow_exceptions=*/false);
  if (!object.is_object()) line.fail("not a JSON object");
  const auto time = object.find("timestamp");
  if (time == object.end() || !time->is_number()) line.fail("no number \"timestamp\"");
  return {time->get<double>() / 1000.0, json_tokens(line, object, "input_length", 1),
          json_tokens(line, object, "output_length", 0)};
}

struct TraceFormat {
  const char* name;
  Request (*parse)(const Line& line);
  bool has_header;
};

TraceFormat detect_format(const Line& line) {
  if (line.text.starts_with('{')) return {"mooncake", parse_mooncake, false};
  if (line.text == kAzureHeader) return {"azure", parse_azure, true};
  if (line.text.starts_with(kVidurHeader)) return {"vidur", parse_vidur, true};
  line.fail("not a trace: expected the header of an Azure or Vidur CSV or a Mooncake JSON object");
}

/// The next line that is not blank, without line end; false at the end of the file.
bool next_line(std::istream& in, std::string& text, int64_t& number) {
  while (std::getline(in, text)) {
    ++number;
    if (number == 1 && text.starts_with("\xef\xbb\xbf")) text.erase(0, 3);
    if (text.ends_with('\r')) text.pop_back();
    if (text.find_first_not_of(" \t") != std::string::npos) return true;
  }
  return false;
}

}  // namespace

Trace parse_trace(std::istream& in, const std::string& name, int64_t max_requests) {
  Trace trace{name, {}, {}};
  std::string text;
  int64_t number = 0;
  if (!next_line(in, text, number)) throw BadInput(name + ": no requests in it");
  const TraceFormat format = detect_format({name, number, text});
  trace.format = format.name;
  bool more = !format.has_header || next_line(in, text, number);
  while (more && static_cast<int64_t>(trace.requests.size()) < max_requests) {
    const Line line{name, number, text};
    const Request request = format.parse(line);
    checked_tokens(line, "prompt and output",
                   int64_t{request.prompt_tokens} + request.output_tokens, 1);
    trace.requests.push_back(request);
    more = next_line(in, text, number);
  }
  if (in.bad()) throw BadInput(fmt::format("{}:{}: reading failed", name, number + 1));
  if (trace.requests.empty()) throw BadInput(name + ": no requests in it");
  const double first = trace.requests.front().arrival_seconds;
  for (Request& request : trace.requests) request.arrival_seconds -= first;
  return trace;
}

Trace read_trace(const std::string& path, int64_t max_requests) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    throw BadInput(fmt::format("--trace: '{}' is a folder", path));
  }
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    throw BadInput(fmt::format("--trace: cannot read '{}': {}", path, std::strerror(errno)));
  }
  return parse_trace(in, path, max_requests);
}

}  // namespace attnrt::perf
