#include "absl/strings/str_format.h"
#include "common/errors/errors.h"
#include "tools/sluicectl/commands.h"
#include "tools/sluicectl/text.h"

namespace sluice::ctl {
namespace {

std::string Line(std::string_view name, int64_t micros, int64_t wall_us) {
  return absl::StrFormat("%-9s %s UTC, %+.3f s\n", absl::string_view(name.data(), name.size()),
                         Time(micros), static_cast<double>(micros - wall_us) / 1e6);
}

}  // namespace

absl::Status Clock(Session& session, bool correct) {
  SLUICE_ASSIGN_OR_RETURN(const v1::ClockReading reading,
                          correct ? session.admin.CorrectClock() : session.admin.ReadClock());
  const int64_t wall_us = reading.wall_time_us();
  session.Print({{"wall_time_us", wall_us},
                 {"clock_time_us", reading.clock_time_us()},
                 {"log_time_us", reading.log_time_us()}},
                [&] {
                  return Line("machine", wall_us, wall_us) +
                         Line("clock", reading.clock_time_us(), wall_us) +
                         Line("log time", reading.log_time_us(), wall_us);
                });
  return absl::OkStatus();
}

}  // namespace sluice::ctl
