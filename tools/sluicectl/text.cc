#include "tools/sluicectl/text.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"

namespace sluice::ctl {
namespace {

bool Continues(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

size_t Characters(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return !Continues(c); }));
}

}  // namespace

std::string Grouped(uint64_t number) {
  std::string text = absl::StrCat(number);
  for (size_t i = text.size(); i > 3;) text.insert(i -= 3, 1, ',');
  return text;
}

std::string Bytes(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? absl::StrCat(bytes, " B") : absl::StrFormat("%.1f %s", value, kUnits[unit]);
}

std::string Time(int64_t micros) {
  return absl::FormatTime("%Y-%m-%d %H:%M:%S", absl::FromUnixMicros(micros), absl::UTCTimeZone());
}

std::string OneLine(std::string_view text, size_t columns) {
  std::string line;
  size_t characters = 0;
  for (const char c : text) {
    if (!Continues(c) && ++characters > columns) {
      while (!line.empty() && Continues(line.back())) line.pop_back();
      if (!line.empty()) line.pop_back();
      return line + "…";
    }
    const auto code = static_cast<unsigned char>(c);
    line.push_back(code < 0x20 || code == 0x7f ? ' ' : c);
  }
  return line;
}

std::string Table(const std::vector<Column>& columns,
                  const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::string> names;
  std::vector<size_t> widths;
  for (const Column& column : columns) {
    names.push_back(column.name);
    widths.push_back(column.name.size());
  }
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], Characters(row[i]));
  }
  std::string out;
  const auto add = [&](const std::vector<std::string>& row) {
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string padding(widths[i] - Characters(row[i]), ' ');
      const bool last = i + 1 == row.size();
      absl::StrAppend(&out, columns[i].right ? padding : "", row[i],
                      columns[i].right || last ? "" : padding, last ? "\n" : "  ");
    }
  };
  add(names);
  for (const auto& row : rows) add(row);
  return out;
}

}  // namespace sluice::ctl
