#include "common/server/settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>

namespace sluice::server {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;

class SettingsTest : public ::testing::Test {
 protected:
  SettingsTest() {
    settings_.Add("server.address", &address_, "127.0.0.1:1", "Where it listens");
    settings_.Add("log.sync", &sync_, true, "Whether to sync");
    settings_.Add("log.journal.file_bytes", &file_bytes_, 64 << 20, 1 << 20, 1 << 30,
                  "Size of a file");
    settings_.Add("log.wait_ms", &wait_ms_, 5, 1, 1000, "How long to wait");
    settings_.AddChoice("server.format", &format_, "text", {"text", "json"}, "Form of lines");
  }
  ~SettingsTest() override {
    for (const auto& [name, value] : environment_) unsetenv(name.c_str());
    std::filesystem::remove(path_);
  }

  void SetVariable(const std::string& name, const std::string& value) {
    environment_[name] = value;
    setenv(name.c_str(), value.c_str(), 1);
  }

  absl::Status LoadText(const std::string& yaml) {
    std::ofstream(path_) << yaml;
    return settings_.Load(path_);
  }
  // Of the error, without the file's folder.
  std::string ErrorOf(const std::string& yaml) {
    const absl::Status status = LoadText(yaml);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    const std::string message(status.message());
    EXPECT_THAT(message, ::testing::StartsWith(path_));
    return message.substr(std::min(message.size(), path_.size() + 1));
  }

  const std::string path_ =
      ::testing::TempDir() + "settings_test." + std::to_string(getpid()) + ".yaml";
  std::map<std::string, std::string> environment_;
  std::string address_, format_;
  bool sync_ = false;
  uint64_t file_bytes_ = 0, wait_ms_ = 0;
  Settings settings_;
};

TEST_F(SettingsTest, WithoutFileAndVariablesTheDefaultsHold) {
  ASSERT_TRUE(settings_.Load("").ok());
  EXPECT_EQ(address_, "127.0.0.1:1");
  EXPECT_TRUE(sync_);
  EXPECT_EQ(file_bytes_, 64U << 20);
}

TEST_F(SettingsTest, AFileSetsNestedKeys) {
  ASSERT_TRUE(
      LoadText(
          "log:\n  journal:\n    file_bytes: 2MiB\n  sync: false\nserver: {address: '[::]:80'}\n")
          .ok());
  EXPECT_EQ(file_bytes_, 2U << 20);
  EXPECT_FALSE(sync_);
  EXPECT_EQ(address_, "[::]:80");
  EXPECT_EQ(wait_ms_, 5U);
}

TEST_F(SettingsTest, AnEmptyFileAndAnEmptySectionAreFine) {
  EXPECT_TRUE(LoadText("").ok());
  EXPECT_TRUE(LoadText("# nothing\nlog:\n").ok());
}

TEST_F(SettingsTest, TextThatLooksLikeANumberIsText) {
  ASSERT_TRUE(LoadText("server:\n  address: 8080\n").ok());
  EXPECT_EQ(address_, "8080");
}

TEST_F(SettingsTest, AnUnknownKeyNamesFileAndLine) {
  EXPECT_EQ(ErrorOf("log:\n  sync: true\n  synk: true\n"),
            "3: log.synk: no such setting (--print-config lists them)");
  EXPECT_EQ(ErrorOf("logg:\n  sync: true\n"),
            "1: logg: no such setting (--print-config lists them)");
}

TEST_F(SettingsTest, AWrongTypeNamesFileLineAndKey) {
  EXPECT_EQ(ErrorOf("\nlog:\n  wait_ms: soon\n"), "3: log.wait_ms: \"soon\" is not a whole number");
  EXPECT_EQ(ErrorOf("log:\n  wait_ms: 1.5\n"), "2: log.wait_ms: \"1.5\" is not a whole number");
  EXPECT_EQ(ErrorOf("log:\n  wait_ms: -1\n"), "2: log.wait_ms: \"-1\" is not a whole number");
  EXPECT_EQ(ErrorOf("log:\n  wait_ms: 1KiB\n"), "2: log.wait_ms: \"1KiB\" is not a whole number");
  EXPECT_EQ(ErrorOf("log:\n  wait_ms: \"7\"\n"), "2: log.wait_ms: must not be in quotes");
  EXPECT_EQ(ErrorOf("log:\n  wait_ms: [7]\n"), "2: log.wait_ms: must be a single value");
  EXPECT_EQ(ErrorOf("log:\n  wait_ms:\n"), "2: log.wait_ms: must be a single value");
  EXPECT_EQ(ErrorOf("log:\n  sync: yes\n"), "2: log.sync: \"yes\" is not true or false");
  EXPECT_EQ(ErrorOf("log: 5\n"), "1: log: is a section, not a setting");
  EXPECT_EQ(ErrorOf("- log\n"), "1: must be a map of settings");
}

TEST_F(SettingsTest, AValueOutOfRangeSaysTheRange) {
  EXPECT_EQ(ErrorOf("log:\n  wait_ms: 1001\n"), "2: log.wait_ms: 1001 is out of range: 1 to 1000");
  EXPECT_EQ(ErrorOf("log:\n  wait_ms: 0\n"), "2: log.wait_ms: 0 is out of range: 1 to 1000");
  EXPECT_EQ(ErrorOf("log:\n  wait_ms: 99999999999999999999\n"),
            "2: log.wait_ms: 99999999999999999999 is out of range: 1 to 1000");
  EXPECT_EQ(ErrorOf("log:\n  journal:\n    file_bytes: 18446744073709551615GiB\n"),
            "3: log.journal.file_bytes: 18446744073709551615GiB is out of range: 1MiB to 1GiB");
  EXPECT_EQ(ErrorOf("server:\n  format: xml\n"), "2: server.format: \"xml\" is not text or json");
}

TEST_F(SettingsTest, AKeyGivenTwiceIsAnError) {
  EXPECT_EQ(ErrorOf("log:\n  wait_ms: 1\n  wait_ms: 2\n"), "3: log.wait_ms: is given twice");
  EXPECT_EQ(ErrorOf("log:\n  wait_ms: 1\nlog:\n  sync: true\n"), "3: log: is given twice");
}

TEST_F(SettingsTest, TextThatIsNotUtf8IsAnError) {
  EXPECT_THAT(ErrorOf("log:\n  data: \xf1/x\n"), HasSubstr("is not UTF-8 text"));
}

TEST_F(SettingsTest, AControlCharacterIsAnError) {
  EXPECT_THAT(ErrorOf(std::string("log:\n  data: a\0b\n", 17)), HasSubstr("control character"));
}

// yaml-cpp made documents of this until the memory was gone.
TEST_F(SettingsTest, ATextThatBeginsWithACommaIsAnError) {
  EXPECT_THAT(ErrorOf(",o\n2]\n"), HasSubstr("more than one YAML document"));
}

TEST_F(SettingsTest, BrokenYamlNamesTheLine) {
  EXPECT_THAT(ErrorOf("log:\n  wait_ms: [\n"), ::testing::MatchesRegex("[0-9]+: .+"));
  EXPECT_THAT(ErrorOf("log:\n  sync: true\n---\nlog:\n"), HasSubstr("more than one YAML document"));
}

TEST_F(SettingsTest, AFileThatIsNotThereIsAnError) {
  const absl::Status status = settings_.Load("/nowhere/sluice.yaml");
  EXPECT_EQ(status.message(), "/nowhere/sluice.yaml: cannot be read");
  EXPECT_EQ(settings_.Load(::testing::TempDir()).message(),
            ::testing::TempDir() + ": cannot be read");
}

TEST_F(SettingsTest, VariablesOverrideTheFileAndFlagsOverrideVariables) {
  SetVariable("SLUICE_LOG_JOURNAL_FILE_BYTES", "3MiB");
  SetVariable("SLUICE_LOG_WAIT_MS", "30");
  ASSERT_TRUE(LoadText("log: {wait_ms: 20, journal: {file_bytes: 2MiB}}\n").ok());
  EXPECT_EQ(file_bytes_, 3U << 20);
  EXPECT_EQ(wait_ms_, 30U);
  ASSERT_TRUE(settings_.Set("log.wait_ms", "40", "--wait").ok());
  EXPECT_EQ(wait_ms_, 40U);
  EXPECT_EQ(settings_.Set("log.wait_ms", "x", "--wait").message(),
            "--wait: \"x\" is not a whole number");
}

TEST_F(SettingsTest, AnUnknownOrBadVariableIsNamed) {
  SetVariable("SLUICE_LOG_WAIT_MS", "");
  EXPECT_EQ(settings_.Load("").message(),
            "environment variable SLUICE_LOG_WAIT_MS: \"\" is not a whole number");
  SetVariable("SLUICE_LOG_WAIT_MS", "7");
  SetVariable("SLUICE_LOG_WAITMS", "7");
  EXPECT_EQ(settings_.Load("").message(),
            "environment variable SLUICE_LOG_WAITMS: no such setting (--print-config lists them)");
}

TEST_F(SettingsTest, VariablesOfOurToolsAndTestsAreNotSettings) {
  SetVariable("SLUICE_SERVER", "127.0.0.1:7700");  // these two of sluicectl
  SetVariable("SLUICE_LOG", "127.0.0.1:7701");
  SetVariable("SLUICE_BUILD", "build");  // of tools/dev
  SetVariable("SLUICE_TEST_SEED", "7");
  EXPECT_TRUE(settings_.Load("").ok());
}

// Kubernetes sets these for a Service called sluice-log in the same namespace.
TEST_F(SettingsTest, VariablesOfKubernetesServicesAreNotSettings) {
  SetVariable("SLUICE_LOG_SERVICE_HOST", "10.0.0.1");
  SetVariable("SLUICE_LOG_SERVICE_PORT", "7710");
  SetVariable("SLUICE_LOG_SERVICE_PORT_GRPC", "7710");
  SetVariable("SLUICE_LOG_PORT", "tcp://10.0.0.1:7710");
  SetVariable("SLUICE_LOG_PORT_7710_TCP", "tcp://10.0.0.1:7710");
  SetVariable("SLUICE_LOG_PORT_7710_TCP_PROTO", "tcp");
  SetVariable("SLUICE_LOG_PORT_7710_TCP_PORT", "7710");
  SetVariable("SLUICE_LOG_PORT_7710_TCP_ADDR", "10.0.0.1");
  EXPECT_TRUE(settings_.Load("").ok());
  SetVariable("SLUICE_LOG_PORT", "7710");
  EXPECT_FALSE(settings_.Load("").ok());
}

TEST_F(SettingsTest, ASettingThatAProgramDecidesItselfCannotBeGiven) {
  settings_.Remove("log.wait_ms");
  EXPECT_THAT(settings_.Print(), ::testing::Not(HasSubstr("wait_ms")));
  EXPECT_EQ(ErrorOf("log:\n  wait_ms: 7\n"),
            "2: log.wait_ms: no such setting (--print-config lists them)");
  EXPECT_EQ(wait_ms_, 5U);
}

struct Model {
  std::string address;
  uint64_t wait_ms = 0;
  void Declare(Settings& settings, const std::string& section) {
    settings.Add(section + ".address", &address, "", "Where it is");
    settings.Add(section + ".wait_ms", &wait_ms, 5, 1, 1000, "How long to wait");
  }
};

TEST_F(SettingsTest, SectionsThatTheFileNamesEachHaveTheirSettings) {
  std::map<std::string, Model> models;
  settings_.AddNamed("log.models", &models, "Models");
  SetVariable("SLUICE_LOG_MODELS_TWO_B_ADDRESS", "there");
  const absl::Status loaded = LoadText(
      "log:\n  models:\n    one:\n      address: here\n    two-b:\n      wait_ms: 7\n    three:\n");
  ASSERT_TRUE(loaded.ok()) << loaded;
  ASSERT_EQ(models.size(), 3u);
  EXPECT_EQ(models["one"].address, "here");
  EXPECT_EQ(models["one"].wait_ms, 5u);
  EXPECT_EQ(models["two-b"].address, "there");
  EXPECT_EQ(models["two-b"].wait_ms, 7u);
  EXPECT_THAT(settings_.Print(), HasSubstr("    two-b:\n"));
  EXPECT_THAT(settings_.Print(), HasSubstr("#         address: \"\""));
  EXPECT_THAT(settings_.Reference(), HasSubstr("| `log.models.NAME.wait_ms` | `5` | 1 to 1000 |"));
}

TEST_F(SettingsTest, WhatIsWrongInANamedSectionNamesFileAndLine) {
  std::map<std::string, Model> models;
  settings_.AddNamed("log.models", &models, "Models");
  EXPECT_EQ(ErrorOf("log:\n  models:\n    one:\n      adress: here\n"),
            "4: log.models.one.adress: no such setting (--print-config lists them)");
  EXPECT_THAT(ErrorOf("log:\n  models:\n    Two:\n"), HasSubstr("3: log.models.Two: a name here"));
  EXPECT_THAT(ErrorOf("log:\n  models: none\n"), HasSubstr("is a section"));
}

TEST_F(SettingsTest, NamedSectionsThatAProgramDecidesItselfCannotBeGiven) {
  std::map<std::string, Model> models;
  settings_.AddNamed("log.models", &models, "Models");
  settings_.Remove("log.models");
  EXPECT_THAT(ErrorOf("log:\n  models:\n    one:\n"), HasSubstr("no such setting"));
}

TEST_F(SettingsTest, WhatIsPrintedCanBeLoadedAndSaysTheSame) {
  ASSERT_TRUE(LoadText("server: {address: \"a \\\"b\\\" # c: \\u00e9\"}\nlog: {sync: false, "
                       "journal: {file_bytes: 1500000}}\n")
                  .ok());
  const std::string printed = settings_.Print();
  EXPECT_THAT(printed, HasSubstr("log:\n  # Whether to sync (true or false)\n  sync: false\n"));
  EXPECT_THAT(printed, HasSubstr("    # Size of a file (1MiB to 1GiB)\n    file_bytes: 1500000\n"));
  const std::string address = address_;
  address_.clear();
  sync_ = true;
  file_bytes_ = 0;
  ASSERT_TRUE(LoadText(printed).ok()) << printed;
  EXPECT_EQ(address_, address);
  EXPECT_FALSE(sync_);
  EXPECT_EQ(file_bytes_, 1500000U);
  EXPECT_EQ(settings_.Print(), printed);
}

TEST_F(SettingsTest, TheReferenceIsATableOfDefaultsAndRanges) {
  ASSERT_TRUE(LoadText("log: {wait_ms: 20}\n").ok());
  EXPECT_EQ(settings_.Reference(),
            "| setting | default | range | meaning |\n"
            "|---|---|---|---|\n"
            "| `server.address` | `127.0.0.1:1` |  | Where it listens |\n"
            "| `log.sync` | `true` | true or false | Whether to sync |\n"
            "| `log.journal.file_bytes` | `64MiB` | 1MiB to 1GiB | Size of a file |\n"
            "| `log.wait_ms` | `5` | 1 to 1000 | How long to wait |\n"
            "| `server.format` | `text` | text or json | Form of lines |\n");
}

}  // namespace
}  // namespace sluice::server
