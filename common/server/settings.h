// A program's settings: each declared once (name, default, range, a line of help), read from one strict YAML file, overridden by environment
// variables. `log.journal.file_bytes` is written as nested YAML and overridden by SLUICE_LOG_JOURNAL_FILE_BYTES.
//
// An unknown key, a wrong type or a value out of range is an INVALID_ARGUMENT that names file, line and key (or the variable). Used by one thread at start.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace sluice::server {

class Settings {
 public:
  Settings();
  ~Settings();

  // Each sets *target to the default at once, and later to what Load finds; `target` must outlive this.
  void Add(std::string name, std::string* target, std::string default_value, std::string help);
  void Add(std::string name, bool* target, bool default_value, std::string help);
  // Whole numbers in [min, max]; the unit is the end of the name (_bytes, _ms, ...). Names that end in _bytes also accept KiB, MiB and GiB, as in "64MiB".
  void Add(std::string name, uint64_t* target, uint64_t default_value, uint64_t min, uint64_t max, std::string help);

  // `path` may be empty: defaults and environment only.
  absl::Status Load(const std::string& path);

  // All settings with the values in force, as YAML that Load accepts, each under its help as a comment.
  std::string Print() const;
  // As a Markdown table: name, default, range, help. READMEs hold it; tests compare.
  std::string Reference() const;
  // For tests of deployment files.
  bool Knows(std::string_view name) const;

 private:
  struct Setting;
  std::vector<std::unique_ptr<Setting>> settings_;
};

}  // namespace sluice::server
