// Numbers, sizes and tables for people. Pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::ctl {

// 1234567 -> "1,234,567".
std::string Grouped(uint64_t number);
// 1536 -> "1.5 KiB".
std::string Bytes(uint64_t bytes);
// Microseconds since the Unix epoch -> "2024-05-01 12:34:56" in UTC.
std::string Time(int64_t micros);
// `text` on one line of at most `columns` characters: control characters (a terminal would obey
// them) become spaces, and what is cut off is shown as "…". `text` is UTF-8.
std::string OneLine(std::string_view text, size_t columns);

struct Column {
  std::string name;
  bool right = false;
};
// Columns as wide as their widest cell, under their names; the last one is not padded.
std::string Table(const std::vector<Column>& columns,
                  const std::vector<std::vector<std::string>>& rows);

}  // namespace sluice::ctl
