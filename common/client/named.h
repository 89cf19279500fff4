// The names of writes: they get them before their first attempt, and their retries keep them.
#pragma once

#include "common/base/clock.h"
#include "common/base/ids.h"

namespace sluice::client {

// The request with a request_id: its own, or a new one.
template <class Request>
Request Named(Request request) {
  if (request.request_id().empty()) {
    request.set_request_id(Uuid::TimeOrdered(NowMicros() / 1000).ToString());
  }
  return request;
}

}  // namespace sluice::client
