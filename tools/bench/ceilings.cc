#include "tools/bench/ceilings.h"

#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <string>

#include "sluice/v1/log.grpc.pb.h"
#include "tools/bench/load.h"

namespace sluice::bench {
namespace {

using Clock = std::chrono::steady_clock;

class EchoService : public v1::LogService::CallbackService {
 public:
  grpc::ServerUnaryReactor* PushLogs(grpc::CallbackServerContext* context,
                                     const v1::PushLogsRequest* request,
                                     v1::PushLogsResponse* response) override {
    response->set_first_seq_id(1);
    response->set_count(static_cast<uint32_t>(request->records_size()));
    response->set_tail_seq_id(static_cast<uint64_t>(request->records_size()));
    auto* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
};

}  // namespace

absl::StatusOr<FileLoop> WriteAndSync(const std::filesystem::path& folder, size_t block_bytes,
                                      std::chrono::milliseconds duration) {
  std::error_code ignored;
  std::filesystem::create_directories(folder, ignored);
  const std::filesystem::path path = folder / "write-and-sync";
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (fd < 0) return absl::ErrnoToStatus(errno, path.string());
  std::string block(block_bytes, 'x');
  std::vector<double> latencies;
  size_t bytes = 0;
  const Clock::time_point begin = Clock::now();
  Clock::time_point now = begin;
  while (now - begin < duration) {
    // Other bytes each time, so that no layer below can tell them from the last.
    block[bytes / block_bytes % block_bytes] ^= 1;
    if (write(fd, block.data(), block.size()) != static_cast<ssize_t>(block.size()) ||
        fdatasync(fd) != 0) {
      const absl::Status error = absl::ErrnoToStatus(errno, path.string());
      close(fd);
      return error;
    }
    const Clock::time_point then = Clock::now();
    latencies.push_back(std::chrono::duration<double, std::micro>(then - now).count());
    now = then;
    bytes += block.size();
  }
  close(fd);
  std::filesystem::remove(path, ignored);
  return FileLoop{block_bytes,
                  static_cast<double>(bytes) / std::chrono::duration<double>(now - begin).count(),
                  Median(std::move(latencies))};
}

absl::StatusOr<FileLoop> BestWriteAndSync(const std::filesystem::path& folder,
                                          std::chrono::milliseconds duration_each) {
  FileLoop best;
  for (size_t block = 64 << 10; block <= 8 << 20; block *= 2) {
    absl::StatusOr<FileLoop> loop = WriteAndSync(folder, block, duration_each);
    if (!loop.ok()) return loop;
    if (loop->bytes_per_second > best.bytes_per_second) best = *loop;
  }
  return best;
}

int ServeCeiling(grpc::Service& service) {
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.SetMaxReceiveMessageSize(32 << 20);
  builder.RegisterService(&service);
  const auto server = builder.BuildAndStart();
  if (!server) return 1;
  std::printf("ready grpc=127.0.0.1:%d\n", port);
  std::fflush(stdout);
  server->Wait();
  return 0;
}

int ServeEcho() {
  EchoService service;
  return ServeCeiling(service);
}

}  // namespace sluice::bench
