#include "common/objects/s3_credentials.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace sluice {
namespace {

std::string Variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

bool IsPrintable(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) { return c > ' ' && c < 0x7f; });
}

}  // namespace

absl::StatusOr<S3Credentials> ReadS3Credentials(const std::string& file) {
  S3Credentials found;
  if (file.empty()) {
    found = {Variable("AWS_ACCESS_KEY_ID"), Variable("AWS_SECRET_ACCESS_KEY"),
             Variable("AWS_SESSION_TOKEN")};
  } else {
    std::ifstream in(file);
    if (!in) return absl::UnavailableError("cannot read the credentials' file " + file);
    std::string line;
    for (int sections = 0; std::getline(in, line);) {
      if (line.starts_with('[') && ++sections > 1) break;
      const std::pair<std::string, std::string> setting =
          absl::StrSplit(line, absl::MaxSplits('=', 1));
      const absl::string_view name = absl::StripAsciiWhitespace(setting.first);
      const std::string value(absl::StripAsciiWhitespace(setting.second));
      if (name == "aws_access_key_id") found.key_id = value;
      if (name == "aws_secret_access_key") found.secret = value;
      if (name == "aws_session_token") found.session_token = value;
    }
  }
  const std::string where = file.empty() ? "the environment" : file;
  if (found.key_id.empty() || found.secret.empty()) {
    return absl::UnavailableError(absl::StrCat("no credentials for S3 in ", where));
  }
  if (!IsPrintable(found.key_id) || !IsPrintable(found.secret) ||
      !IsPrintable(found.session_token)) {
    return absl::UnavailableError(
        absl::StrCat("the credentials for S3 in ", where, " hold what no header can"));
  }
  return found;
}

}  // namespace sluice
