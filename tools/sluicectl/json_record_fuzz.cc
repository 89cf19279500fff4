// What `sluicectl` reads: lines of a file, JSON to records; each is taken, or refused with a
// reason.
#include <fcntl.h>
#include <unistd.h>

#include "common/base/check.h"
#include "tests/support/fuzz.h"
#include "tools/sluicectl/json_record.h"
#include "tools/sluicectl/line_reader.h"

namespace sluice::testing {

void FuzzOne(std::string_view input) {
  static const FuzzFile file;
  file.Write(input);
  const int fd = ::open(file.path().c_str(), O_RDONLY | O_CLOEXEC);
  SLUICE_CHECK(fd >= 0);
  ctl::LineReader reader(fd, ctl::kLinePadding);
  ctl::RecordParser parser;
  for (;;) {
    const auto line = reader.Next();
    SLUICE_CHECK(line.ok());
    if (!*line) break;
    v1::OperationRecord record;
    const absl::Status parsed = parser.Parse(**line, &record);
    SLUICE_CHECK(parsed.ok() ? record.IsInitialized() : absl::IsInvalidArgument(parsed));
  }
  ::close(fd);
}

std::vector<std::string> FuzzSeeds() {
  return {
      R"({"id": "a", "document": "text", "uri": "file:///x", "metadata": {"lang": "en", "old": null}})",
      "{\"id\": \"a\", \"vector\": [0.1, -2e30, 3]}\n{\"id\": \"b\"}\r\n\n{\"id\": 3}",
      R"({"id": "\u00e9\ud83d\ude00", "metadata": {"n": 1e400, "i": -9223372036854775808, "b": true}})",
      R"({"id": "a", "id": "b"})",
      R"({"id": "a", "vector": [[[[]]]]})",
      std::string(2000, '['),
      "{\"id\":\"\xff\xfe\"}"};
}

}  // namespace sluice::testing
