// Log lines on standard error: one line each, key=value or JSON, ids and counts only (never
// documents or vectors). Thread-safe.
//
//   Log(Level::kInfo, "segment committed", {{"collection_id", id.ToString()}, {"rows", rows}});
//   static RateLimitedLog slow(std::chrono::seconds(10));
//   slow(Level::kWarn, "sync is slow", {{"ms", ms}});
#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>

#include "absl/status/status.h"
#include "common/base/mutex.h"

namespace sluice::server {

enum class Level { kDebug, kInfo, kWarn, kError };

// A key with its value. Strings are quoted where the format needs it.
struct LogField {
  // Any kind of string: std::string, both string_views, const char*.
  template <typename Text>
  requires(std::constructible_from<std::string, const Text&> && !std::is_arithmetic_v<Text>)
      LogField(std::string_view k, const Text& v)
      : key(k), value(v), is_number(false) {}
  // Code and message; payloads are for programs.
  LogField(std::string_view k, const absl::Status& v)
      : key(k), value(v.ToString(absl::StatusToStringMode::kWithNoExtraData)), is_number(false) {}
  template <typename Number>
  requires(std::integral<Number> || std::floating_point<Number>)
      LogField(std::string_view k, Number v)
      : key(k), value(std::to_string(v)), is_number(true) {}

  std::string_view key;
  std::string value;
  bool is_number;
};

// Sets the format (`text` or `json`) and the least level shown (`debug`, `info`, `warning`,
// `error`), and sends gRPC's own messages the same way. Before this call: text, info. Called once,
// by Server.
void SetUpLogging(std::string_view format, std::string_view level);

void Log(Level level, std::string_view message, std::initializer_list<LogField> fields = {});

// At most one line in `interval`; the next line says how many were left out (suppressed=N).
class RateLimitedLog {
 public:
  explicit RateLimitedLog(std::chrono::steady_clock::duration interval) : interval_(interval) {}
  void operator()(Level level, std::string_view message,
                  std::initializer_list<LogField> fields = {});

 private:
  const std::chrono::steady_clock::duration interval_;
  Mutex mutex_;
  std::chrono::steady_clock::time_point next_ GUARDED_BY(mutex_);
  uint64_t suppressed_ GUARDED_BY(mutex_) = 0;
};

}  // namespace sluice::server
