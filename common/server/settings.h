// A program's settings: each declared once (name, default, range, a line of help), read from one
// strict YAML file, overridden by environment variables, then by flags. `log.journal.file_bytes` is
// written as nested YAML and overridden by SLUICE_LOG_JOURNAL_FILE_BYTES.
//
// An unknown key or variable, a key given twice, a wrong type or a value out of range is an
// INVALID_ARGUMENT that names file, line and key (or the variable, or the flag). After an error the
// targets hold unspecified values. Used by one thread, at start.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
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

  // Sections that the file names: NAME in `prefix.NAME.` is any word of lower-case letters, digits
  // and hyphens. Each one found makes a (*targets)[NAME], whose Declare(Settings&, "prefix.NAME")
  // declares its settings. Variables can override what the file has, and name none anew.
  template <typename Target>
  void AddNamed(std::string prefix, std::map<std::string, Target>* targets, std::string help) {
    named_.push_back(
        {std::move(prefix), std::move(help),
         [targets](Settings& settings, const std::string& name, const std::string& section) {
           (*targets)[name].Declare(settings, section);
         },
         [](const std::string& section, std::string (Settings::*show)() const) {
           Settings example;
           Target target;
           target.Declare(example, section);
           return (example.*show)();
         }});
  }

  // Takes a declared setting, or named sections, away: this program decides them itself, and nobody
  // may give them.
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
  struct Named {
    std::string prefix;
    std::string help;
    std::function<void(Settings&, const std::string& name, const std::string& section)> declare;
    // What `show` says of a section of that name with its defaults.
    std::function<std::string(const std::string& section, std::string (Settings::*show)() const)>
        example;
  };

  void AddSetting(std::unique_ptr<Setting> setting);
  Setting* Find(std::string_view name) const;
  // The named sections that `name` is a section of; nullptr if of none.
  const Named* SectionsOf(std::string_view name) const;
  std::string ReferenceRows() const;
  absl::Status LoadFile(const std::string& path);
  absl::Status LoadEnvironment();

  std::vector<std::unique_ptr<Setting>> settings_;
  std::vector<Named> named_;
};

}  // namespace sluice::server
