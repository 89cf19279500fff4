#include "common/server/logging.h"

#include <grpc/support/log.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"

namespace sluice::server {
namespace {

constexpr char kTextPattern[] = "%Y-%m-%dT%H:%M:%S.%eZ %l %v";
constexpr char kJsonPattern[] = R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l",%v})";

std::atomic<bool> json_lines = false;

spdlog::logger& Logger() {
  static const std::shared_ptr<spdlog::logger> logger = [] {
    auto made =
        std::make_shared<spdlog::logger>("", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_formatter(
        std::make_unique<spdlog::pattern_formatter>(kTextPattern, spdlog::pattern_time_type::utc));
    return made;
  }();
  return *logger;
}

std::string Quoted(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string QuotedIfNeeded(const std::string& text) {
  const bool plain = !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return c > ' ' && c < 0x7f && c != '"' && c != '=' && c != '\\';
  });
  return plain ? text : Quoted(text);
}

spdlog::level::level_enum ToSpdlog(Level level) {
  switch (level) {
    case Level::kDebug:
      return spdlog::level::debug;
    case Level::kInfo:
      return spdlog::level::info;
    case Level::kWarn:
      return spdlog::level::warn;
    case Level::kError:
      break;
  }
  return spdlog::level::err;
}

void LogGrpcMessage(gpr_log_func_args* args) {
  const Level level = args->severity == GPR_LOG_SEVERITY_ERROR  ? Level::kError
                      : args->severity == GPR_LOG_SEVERITY_INFO ? Level::kInfo
                                                                : Level::kDebug;
  Log(level, "grpc", {{"message", args->message}});
}

void Write(Level level, std::string_view message, std::initializer_list<LogField> fields,
           uint64_t suppressed) {
  spdlog::logger& logger = Logger();
  if (!logger.should_log(ToSpdlog(level))) return;
  const bool json = json_lines;
  std::string line = json ? absl::StrCat("\"message\":", Quoted(message)) : std::string(message);
  const auto add = [&](const LogField& field) {
    if (json) {
      absl::StrAppend(&line, ",", Quoted(field.key), ":",
                      field.is_number ? field.value : Quoted(field.value));
    } else {
      absl::StrAppend(&line, " ", absl::string_view(field.key.data(), field.key.size()), "=",
                      QuotedIfNeeded(field.value));
    }
  };
  for (const LogField& field : fields) add(field);
  if (suppressed > 0) add({"suppressed", suppressed});
  // A newline in the message itself would make two lines of one.
  std::replace(line.begin(), line.end(), '\n', ' ');
  logger.log(ToSpdlog(level), spdlog::string_view_t(line.data(), line.size()));
}

}  // namespace

void SetUpLogging(std::string_view format, std::string_view level) {
  json_lines = format == "json";
  Logger().set_formatter(std::make_unique<spdlog::pattern_formatter>(
      json_lines ? kJsonPattern : kTextPattern, spdlog::pattern_time_type::utc));
  Logger().set_level(spdlog::level::from_str(std::string(level)));
  gpr_set_log_function(LogGrpcMessage);
}

void Log(Level level, std::string_view message, std::initializer_list<LogField> fields) {
  Write(level, message, fields, 0);
}

void RateLimitedLog::operator()(Level level, std::string_view message,
                                std::initializer_list<LogField> fields) {
  uint64_t suppressed = 0;
  {
    MutexLock lock(mutex_);
    const auto now = std::chrono::steady_clock::now();
    if (now < next_) {
      ++suppressed_;
      return;
    }
    next_ = now + interval_;
    suppressed = std::exchange(suppressed_, 0);
  }
  Write(level, message, fields, suppressed);
}

}  // namespace sluice::server
