#include "common/server/settings.h"

#include <re2/re2.h>
#include <unistd.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>
#include <sstream>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/base/check.h"
#include "common/errors/errors.h"
#include "common/record/utf8.h"

extern char** environ;

namespace sluice::server {
namespace {

constexpr std::pair<std::string_view, uint64_t> kByteUnits[] = {
    {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}};

template <typename... Parts>
absl::Status Invalid(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

std::string VariableName(std::string_view name) {
  return absl::StrCat("SLUICE_", absl::AsciiStrToUpper(absl::StrReplaceAll(
                                     {name.data(), name.size()}, {{".", "_"}, {"-", "_"}})));
}

// Variables that are not settings: those of sluicectl, tools/dev and tests, and those that
// Kubernetes puts into every pod of a namespace for a Service called sluice-something.
bool IsForeignVariable(const std::string& variable) {
  static const RE2 foreign(
      "SLUICE_(SERVER|LOG|BUILD)=.*|SLUICE_TEST_.*|SLUICE_.*_SERVICE_HOST=.*|SLUICE_.*_SERVICE_"
      "PORT(_\\w+)?=\\d+|"
      "SLUICE_.*_PORT(_\\d+_(TCP|UDP|SCTP))?=(tcp|udp|sctp)://.*|"
      "SLUICE_.*_PORT_\\d+_(TCP|UDP|SCTP)_(PROTO|PORT|ADDR)=.*");
  return RE2::FullMatch(variable, foreign);
}

// YAML has no such characters; yaml-cpp takes some for the end of the text.
bool IsForbiddenControl(char c) {
  return (c >= 0 && c < ' ' && c != '\t' && c != '\n' && c != '\r') || c == '\x7f';
}

// Not YAML::LoadAll: from a text that begins with a comma it makes documents without end.
bool HasMoreThanOneDocument(const std::string& text) {
  struct Ignore : YAML::EventHandler {
    void OnDocumentStart(const YAML::Mark&) override {}
    void OnDocumentEnd() override {}
    void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
    void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
    void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t,
                  const std::string&) override {}
    void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                         YAML::EmitterStyle::value) override {}
    void OnSequenceEnd() override {}
    void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                    YAML::EmitterStyle::value) override {}
    void OnMapEnd() override {}
  };
  std::istringstream in(text);
  YAML::Parser parser(in);
  Ignore ignore;
  return parser.HandleNextDocument(ignore) && parser.HandleNextDocument(ignore);
}

std::string Quoted(const std::string& text) {
  YAML::Emitter out;
  out << YAML::DoubleQuoted << text;
  return out.c_str();
}

}  // namespace

struct Settings::Setting {
  enum class Kind { kString, kBool, kNumber };

  std::string name;
  std::string variable;
  std::string help;
  Kind kind;
  std::string default_text;
  std::string* text = nullptr;
  bool* flag = nullptr;
  uint64_t* number = nullptr;
  uint64_t min = 0;
  uint64_t max = 0;
  std::vector<std::string> choices;  // empty: any text

  bool IsBytes() const { return kind == Kind::kNumber && absl::EndsWith(name, "_bytes"); }
  std::string Format(uint64_t value) const;
  std::string Range() const;
  // What stands in a YAML file.
  std::string Value() const;
  absl::Status Parse(const std::string& value);
  absl::Status ParseNumber(const std::string& value);
};

std::string Settings::Setting::Format(uint64_t value) const {
  for (const auto& [unit, size] : kByteUnits) {
    if (IsBytes() && value > 0 && value % size == 0)
      return absl::StrCat(value / size, absl::string_view(unit.data(), unit.size()));
  }
  return absl::StrCat(value);
}

std::string Settings::Setting::Range() const {
  switch (kind) {
    case Kind::kString:
      return absl::StrJoin(choices, " or ");
    case Kind::kBool:
      return "true or false";
    case Kind::kNumber:
      break;
  }
  return absl::StrCat(Format(min), " to ", Format(max));
}

std::string Settings::Setting::Value() const {
  switch (kind) {
    case Kind::kString:
      return Quoted(*text);
    case Kind::kBool:
      return *flag ? "true" : "false";
    case Kind::kNumber:
      break;
  }
  return Format(*number);
}

absl::Status Settings::Setting::Parse(const std::string& value) {
  switch (kind) {
    case Kind::kString:
      if (!choices.empty() && std::find(choices.begin(), choices.end(), value) == choices.end()) {
        return Invalid("\"", value, "\" is not ", Range());
      }
      *text = value;
      return absl::OkStatus();
    case Kind::kBool:
      if (value != "true" && value != "false")
        return Invalid("\"", value, "\" is not true or false");
      *flag = value == "true";
      return absl::OkStatus();
    case Kind::kNumber:
      break;
  }
  return ParseNumber(value);
}

absl::Status Settings::Setting::ParseNumber(const std::string& value) {
  uint64_t unit = 1;
  absl::string_view digits = value;
  for (const auto& [name_of_unit, size] : kByteUnits) {
    if (!IsBytes() ||
        !absl::EndsWith(digits, absl::string_view(name_of_unit.data(), name_of_unit.size())))
      continue;
    digits.remove_suffix(name_of_unit.size());
    unit = size;
    break;
  }
  uint64_t parsed = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), parsed);
  const bool whole = !digits.empty() && end == digits.data() + digits.size();
  if (whole && error == std::errc() && parsed <= max / unit && parsed * unit >= min) {
    *number = parsed * unit;
    return absl::OkStatus();
  }
  if (whole) return Invalid(value, " is out of range: ", Range());
  return Invalid("\"", value, "\" is not a whole number",
                 IsBytes() ? " (with or without KiB, MiB or GiB)" : "");
}

Settings::Settings() = default;
Settings::~Settings() = default;

void Settings::Add(std::string name, std::string* target, std::string default_value,
                   std::string help) {
  AddChoice(std::move(name), target, std::move(default_value), {}, std::move(help));
}

void Settings::AddChoice(std::string name, std::string* target, std::string default_value,
                         std::vector<std::string> choices, std::string help) {
  auto setting = std::make_unique<Setting>();
  setting->name = std::move(name);
  setting->help = std::move(help);
  setting->kind = Setting::Kind::kString;
  setting->text = target;
  setting->choices = std::move(choices);
  setting->default_text = std::move(default_value);
  AddSetting(std::move(setting));
}

void Settings::Add(std::string name, bool* target, bool default_value, std::string help) {
  auto setting = std::make_unique<Setting>();
  setting->name = std::move(name);
  setting->help = std::move(help);
  setting->kind = Setting::Kind::kBool;
  setting->flag = target;
  setting->default_text = default_value ? "true" : "false";
  AddSetting(std::move(setting));
}

void Settings::Add(std::string name, uint64_t* target, uint64_t default_value, uint64_t min,
                   uint64_t max, std::string help) {
  auto setting = std::make_unique<Setting>();
  setting->name = std::move(name);
  setting->help = std::move(help);
  setting->kind = Setting::Kind::kNumber;
  setting->number = target;
  setting->min = min;
  setting->max = max;
  setting->default_text = setting->Format(default_value);
  AddSetting(std::move(setting));
}

void Settings::AddSetting(std::unique_ptr<Setting> setting) {
  setting->variable = VariableName(setting->name);
  for (const auto& other : settings_) {
    SLUICE_CHECK(other->variable != setting->variable);  // also the same name twice
    SLUICE_CHECK(!absl::StartsWith(other->name, setting->name + "."));
    SLUICE_CHECK(!absl::StartsWith(setting->name, other->name + "."));
  }
  SLUICE_CHECK(setting->Parse(setting->default_text).ok());
  settings_.push_back(std::move(setting));
}

void Settings::Remove(std::string_view name) {
  const size_t removed =
      std::erase_if(settings_, [&](const auto& setting) { return setting->name == name; }) +
      std::erase_if(named_, [&](const Named& named) { return named.prefix == name; });
  SLUICE_CHECK(removed == 1);
}

const Settings::Named* Settings::SectionsOf(std::string_view name) const {
  for (const Named& named : named_) {
    if (name.substr(0, name.rfind('.')) == named.prefix) return &named;
  }
  return nullptr;
}

Settings::Setting* Settings::Find(std::string_view name) const {
  for (const auto& setting : settings_) {
    if (setting->name == name) return setting.get();
  }
  return nullptr;
}

absl::Status Settings::Load(const std::string& path) {
  if (!path.empty()) SLUICE_RETURN_IF_ERROR(LoadFile(path));
  return LoadEnvironment();
}

absl::Status Settings::LoadFile(const std::string& path) {
  std::ifstream file(path);
  if (!file || std::filesystem::is_directory(path)) return Invalid(path, ": cannot be read");
  std::stringstream content;
  content << file.rdbuf();

  std::set<std::string> seen;
  // Applies a map whose keys begin with `prefix`.
  std::function<absl::Status(const YAML::Node&, const std::string&)> apply =
      [&](const YAML::Node& map, const std::string& prefix) -> absl::Status {
    for (const auto& entry : map) {
      const std::string where = absl::StrCat(path, ":", entry.first.Mark().line + 1, ": ");
      if (!entry.first.IsScalar()) return Invalid(where, "a key must be a word");
      const std::string name = prefix + entry.first.Scalar();
      const YAML::Node& value = entry.second;
      if (!seen.insert(name).second) return Invalid(where, name, ": is given twice");

      if (Setting* setting = Find(name)) {
        if (!value.IsScalar()) return Invalid(where, name, ": must be a single value");
        // A quoted scalar has the tag "!": it is text, even if it looks like a number.
        if (setting->kind != Setting::Kind::kString && value.Tag() == "!") {
          return Invalid(where, name, ": must not be in quotes");
        }
        const absl::Status parsed = setting->Parse(value.Scalar());
        if (!parsed.ok()) return Invalid(where, name, ": ", parsed.message());
        continue;
      }
      if (const Named* named = SectionsOf(name)) {
        static const RE2 word("[a-z0-9][a-z0-9-]{0,63}");
        if (!RE2::FullMatch(entry.first.Scalar(), word)) {
          return Invalid(where, name, ": a name here is of lower-case letters, digits and hyphens");
        }
        named->declare(*this, entry.first.Scalar(), name);
      }
      const auto is_within = [&](const std::string& other) {
        return absl::StartsWith(other, name + ".");
      };
      const bool is_section =
          std::any_of(settings_.begin(), settings_.end(),
                      [&](const auto& setting) { return is_within(setting->name); }) ||
          std::any_of(named_.begin(), named_.end(), [&](const Named& named) {
            return named.prefix == name || is_within(named.prefix);
          });
      if (!is_section) return Invalid(where, name, ": no such setting (--print-config lists them)");
      if (value.IsNull()) continue;
      if (!value.IsMap()) return Invalid(where, name, ": is a section, not a setting");
      SLUICE_RETURN_IF_ERROR(apply(value, name + "."));
    }
    return absl::OkStatus();
  };

  try {
    const std::string text = content.str();
    if (!IsValidUtf8(text)) return Invalid(path, ": is not UTF-8 text");
    if (std::any_of(text.begin(), text.end(), IsForbiddenControl))
      return Invalid(path, ": holds a control character");
    if (HasMoreThanOneDocument(text)) return Invalid(path, ": holds more than one YAML document");
    const YAML::Node document = YAML::Load(text);
    if (document.IsNull()) return absl::OkStatus();
    if (!document.IsMap()) return Invalid(path, ":1: must be a map of settings");
    return apply(document, "");
  } catch (const YAML::Exception& e) {
    return Invalid(path, ":", e.mark.line + 1, ": ", e.msg);
  }
}

absl::Status Settings::LoadEnvironment() {
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string variable = *entry;
    if (!absl::StartsWith(variable, "SLUICE_")) continue;
    const std::pair<std::string, std::string> name_and_value =
        absl::StrSplit(variable, absl::MaxSplits('=', 1));
    const auto& [name, value] = name_and_value;
    Setting* setting = nullptr;
    for (const auto& candidate : settings_) {
      if (candidate->variable == name) setting = candidate.get();
    }
    if (setting == nullptr) {
      if (IsForeignVariable(variable)) continue;
      return Invalid("environment variable ", name,
                     ": no such setting (--print-config lists them)");
    }
    const absl::Status parsed = setting->Parse(value);
    if (!parsed.ok()) return Invalid("environment variable ", name, ": ", parsed.message());
  }
  return absl::OkStatus();
}

absl::Status Settings::Set(std::string_view name, const std::string& value,
                           std::string_view source) {
  Setting* setting = Find(name);
  SLUICE_CHECK(setting != nullptr);
  return Annotate(setting->Parse(value), source);
}

std::string Settings::Print() const {
  struct Section {
    std::string key;
    const Setting* setting = nullptr;
    std::vector<Section> children;
  };
  Section root;
  for (const auto& setting : settings_) {
    Section* at = &root;
    for (const std::string& key : std::vector<std::string>(absl::StrSplit(setting->name, '.'))) {
      auto child = std::find_if(at->children.begin(), at->children.end(),
                                [&](const Section& s) { return s.key == key; });
      if (child == at->children.end())
        child = at->children.insert(child, Section{key, nullptr, {}});
      at = &*child;
    }
    at->setting = setting.get();
  }
  std::string out;
  std::function<void(const Section&, const std::string&)> print = [&](const Section& section,
                                                                      const std::string& indent) {
    for (const Section& child : section.children) {
      if (child.setting == nullptr) {
        absl::StrAppend(&out, indent, child.key, ":\n");
        print(child, indent + "  ");
        continue;
      }
      const Setting& setting = *child.setting;
      const std::string range = setting.Range();
      absl::StrAppend(&out, indent, "# ", setting.help,
                      range.empty() ? "" : absl::StrCat(" (", range, ")"), "\n", indent, child.key,
                      ": ", setting.Value(), "\n");
    }
  };
  print(root, "");
  for (const Named& named : named_) {
    absl::StrAppend(&out, "# ", named.prefix, ".NAME: ", named.help, ". Each has:\n");
    const std::string example = named.example(named.prefix + ".NAME", &Settings::Print);
    for (const absl::string_view line : absl::StrSplit(absl::StripSuffix(example, "\n"), '\n')) {
      absl::StrAppend(&out, "#   ", line, "\n");
    }
  }
  return out;
}

std::string Settings::Reference() const {
  return "| setting | default | range | meaning |\n|---|---|---|---|\n" + ReferenceRows();
}

std::string Settings::ReferenceRows() const {
  std::string out;
  for (const auto& setting : settings_) {
    const std::string shown =
        setting->default_text.empty() ? "(empty)" : absl::StrCat("`", setting->default_text, "`");
    absl::StrAppend(&out, "| `", setting->name, "` | ", shown, " | ", setting->Range(), " | ",
                    setting->help, " |\n");
  }
  for (const Named& named : named_) {
    absl::StrAppend(&out, "| `", named.prefix, ".NAME` |  |  | ", named.help, " |\n",
                    named.example(named.prefix + ".NAME", &Settings::ReferenceRows));
  }
  return out;
}

}  // namespace sluice::server
