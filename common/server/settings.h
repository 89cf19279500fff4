// A program's settings: each declared once (name, default, range, a line of help), read from one
// strict YAML file, overridden by environment variables, then by flags. `log.journal.file_bytes` is
// written as nested YAML and overridden by SLUICE_LOG_JOURNAL_FILE_BYTES.
//
// An unknown key or variable, a key given twice, a wrong type or a value out of range is an
// INVALID_ARGUMENT that names file, line and key (or the variable, or the flag). After an error the
// targets hold unspecified values. Used by one thread, at start.
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

  // Each sets *target to the default at once, and later to what is found; `target` must outlive
  // this.
  void Add(std::string name, std::string* target, std::string default_value, std::string help);
  void Add(std::string name, bool* target, bool default_value, std::string help);
  // Whole numbers in [min, max]; the unit is the end of the name (_bytes, _ms, ...). Names that end
  // in _bytes also accept KiB, MiB and GiB, as in "64MiB".
  void Add(std::string name, uint64_t* target, uint64_t default_value, uint64_t min, uint64_t max,
           std::string help);
  // One of a few words.
  void AddChoice(std::string name, std::string* target, std::string default_value,
                 std::vector<std::string> choices, std::string help);

  // Takes a declared setting away: this program decides it itself, and nobody may give it.
  void Remove(std::string_view name);

  // Reads the file, then the environment. `path` may be empty: defaults and environment only.
  absl::Status Load(const std::string& path);
  // Sets one setting from text, as a flag does; errors begin with `source`.
  absl::Status Set(std::string_view name, const std::string& value, std::string_view source);

  // All settings with the values in force, as YAML that Load accepts, each under its help as a
  // comment.
  std::string Print() const;
  // As a Markdown table: name, default, range, help. READMEs hold it; tests compare.
  std::string Reference() const;

 private:
  struct Setting;

  void AddSetting(std::unique_ptr<Setting> setting);
  Setting* Find(std::string_view name) const;
  absl::Status LoadFile(const std::string& path);
  absl::Status LoadEnvironment();

  std::vector<std::unique_ptr<Setting>> settings_;
};

}  // namespace sluice::server
