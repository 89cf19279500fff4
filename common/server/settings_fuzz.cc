// Configuration files of any bytes: read, or refused with a line; what was read is printed such
// that it is read again.
#include "common/base/check.h"
#include "common/server/settings.h"
#include "tests/support/fuzz.h"

namespace sluice::testing {
namespace {

struct Targets {
  explicit Targets(server::Settings* settings) {
    settings->Add("log.data", &text, "data", "A text.");
    settings->Add("log.sync", &flag, true, "A flag.");
    settings->Add("log.file_bytes", &bytes, 64 << 20, 1, uint64_t{1} << 30, "A size.");
    settings->AddChoice("log.level", &choice, "info", {"info", "warning"}, "A choice.");
  }
  std::string text;
  bool flag = false;
  uint64_t bytes = 0;
  std::string choice;
};

}  // namespace

void FuzzOne(std::string_view input) {
  static const FuzzFile file;
  file.Write(input);
  server::Settings settings;
  const Targets read(&settings);
  const absl::Status loaded = settings.Load(file.path());
  if (!loaded.ok()) {
    SLUICE_CHECK(absl::IsInvalidArgument(loaded));
    return;
  }
  file.Write(settings.Print());
  server::Settings others;
  const Targets again(&others);
  SLUICE_CHECK(others.Load(file.path()).ok());
  SLUICE_CHECK(read.text == again.text && read.flag == again.flag && read.bytes == again.bytes &&
               read.choice == again.choice);
}

std::vector<std::string> FuzzSeeds() {
  return {"log:\n  data: /x\n  sync: false\n  file_bytes: 64MiB\n  level: warning\n",
          "log: {data: \"a\\tb\", file_bytes: 0x10}\n",
          "log:\n  data: |\n    a\n    b\n",
          "log: [1, 2]\n",
          "log:\n  file_bytes: 99999999999999999999GiB\n",
          "log: &a\n  data: *a\n",
          "a: &a [*b]\nb: !!binary x\n---\n? c\n",
          ",o\n2]\n",
          "log:\n  data: \xf1/x\n",
          std::string("log:\n  data: fi\x01\0_b\n", 19),
          std::string(200, '['),
          std::string(200, '{')};
}

}  // namespace sluice::testing
