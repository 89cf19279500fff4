#include "services/log/admin_service.h"

#include "common/server/logging.h"
#include "services/log/unary.h"

namespace sluice::log {
namespace {

void Fill(const ClockReading& reading, v1::ClockReading* response) {
  response->set_wall_time_us(reading.wall_us);
  response->set_clock_time_us(reading.clock_us);
  response->set_log_time_us(reading.time_us);
}

}  // namespace

grpc::ServerUnaryReactor* AdminService::ReadClock(grpc::CallbackServerContext* context,
                                                  const v1::ReadClockRequest*,
                                                  v1::ClockReading* response) {
  const absl::StatusOr<ServiceCore*> core = gate_.ForReading();
  if (core.ok()) Fill((*core)->shard->ReadClock(), response);
  return FinishWith(context, core.status());
}

grpc::ServerUnaryReactor* AdminService::CorrectClock(grpc::CallbackServerContext* context,
                                                     const v1::CorrectClockRequest*,
                                                     v1::ClockReading* response) {
  const absl::StatusOr<ServiceCore*> core = gate_.ForWriting();
  if (!core.ok()) return Refuse(context, core.status());
  const ClockReading before = (*core)->shard->ReadClock();
  const ClockReading after = (*core)->shard->CorrectClock();
  server::Log(server::Level::kInfo, "the clock was corrected",
              {{"by_us", after.clock_us - before.clock_us}});
  Fill(after, response);
  return FinishWith(context, absl::OkStatus());
}

}  // namespace sluice::log
