// Streams by the thousand, consumers that do not read, connections that fall silent: what they may
// cost, and that what they held comes back.
#include "services/log/streams.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <deque>
#include <latch>
#include <memory>
#include <thread>

#include "common/server/address.h"
#include "services/log/service_harness.h"

namespace sluice::log {
namespace {

v1::SubscribeRequest Earliest(const std::string& collection) {
  v1::SubscribeRequest request;
  request.set_collection_id(collection);
  request.set_earliest(true);
  request.set_heartbeat_ms(60'000);
  return request;
}

// A subscription on gRPC's own threads. It must be done before it goes.
class AsyncSubscriber : public grpc::ClientReadReactor<v1::SubscribeResponse> {
 public:
  // Counts `reached` down at the record `wanted`. With wanted = 0 it never reads.
  AsyncSubscriber(v1::LogService::Stub& stub, const v1::SubscribeRequest& request, uint64_t wanted,
                  std::latch& reached, std::latch& done)
      : wanted_(wanted), reached_(reached), done_(done) {
    stub.async()->Subscribe(&context_, &request, this);
    if (wanted_ > 0) StartRead(&message_);
    StartCall();
  }
  void OnReadDone(bool ok) override {
    if (!ok) return;
    for (const v1::Append& append : message_.appends()) {
      in_order_ = in_order_ && append.first_seq_id() == last_ + 1;
      last_ += static_cast<uint64_t>(append.records_size());
      if (last_ == wanted_) reached_.count_down();
    }
    StartRead(&message_);
  }
  void OnDone(const grpc::Status&) override { done_.count_down(); }

  void Cancel() { context_.TryCancel(); }
  bool in_order() const { return in_order_; }

 private:
  const uint64_t wanted_;
  std::latch& reached_;
  std::latch& done_;
  grpc::ClientContext context_;
  v1::SubscribeResponse message_;
  std::atomic<uint64_t> last_ = 0;
  std::atomic<bool> in_order_ = true;
};

class StreamsTest : public ServiceTest {};

TEST_F(StreamsTest, TwoThousandSubscribersGetEveryRecordOnceInOrder) {  // invariant 4
  constexpr int kStreams = 2000;
  constexpr int kPushes = 3;
  const std::string id = NewCollection();
  std::latch reached(kStreams);
  std::latch done(kStreams);
  std::deque<AsyncSubscriber> subscribers;
  for (int i = 0; i < kStreams; ++i) {
    subscribers.emplace_back(*log_, Earliest(id), kPushes, reached, done);
  }
  for (int i = 0; i < kPushes; ++i) ASSERT_TRUE(Push(id, {UpsertOf("a")}).ok());
  reached.wait();
  for (AsyncSubscriber& subscriber : subscribers) {
    EXPECT_TRUE(subscriber.in_order());
    subscriber.Cancel();
  }
  done.wait();
  EXPECT_TRUE(Eventually([&] { return Gauge("sluice_log_open_streams") == 0; }));
  EXPECT_TRUE(Eventually([&] { return Gauge("sluice_log_stream_bytes") == 0; }));
}

class NarrowStreamsTest : public StreamsTest {
 protected:
  NarrowStreamsTest() { settings_.max_held_bytes = 4 << 20; }
};

TEST_F(NarrowStreamsTest, ConsumersThatDoNotReadHoldABoundedWindowAndDelayNobody) {  // invariant 9
  constexpr int kIdle = 100;
  constexpr int kPushes = 64;
  const std::string id = NewCollection();
  for (int i = 0; i < kPushes; ++i) {
    ASSERT_TRUE(Push(id, std::vector(16, UpsertOf("a", std::string(16'000, 'x')))).ok());
  }
  std::latch never(1);
  std::latch done(kIdle);
  std::deque<AsyncSubscriber> idle;
  // Over a socket: there flow control stops the first message of records half way.
  const auto over_tcp = OverTcp(server_->grpc_address());
  for (int i = 0; i < kIdle; ++i) idle.emplace_back(*over_tcp, Earliest(id), 0, never, done);
  EXPECT_TRUE(Eventually([&] { return Gauge("sluice_log_open_streams") == kIdle; }));
  EXPECT_TRUE(Eventually([&] { return Gauge("sluice_log_stream_bytes") > (1 << 20); }));

  std::latch reached(1);
  std::latch reader_done(1);
  AsyncSubscriber reader(*log_, Earliest(id), kPushes * 16, reached, reader_done);
  reached.wait();
  EXPECT_TRUE(reader.in_order());
  // The limit, and for each stream the least that a message is made of, one record.
  const double held = Gauge("sluice_log_stream_bytes");
  RecordProperty("held_bytes", static_cast<int>(held));
  EXPECT_LE(held, (4 << 20) + kIdle * (16'384 + 100));
  reader.Cancel();
  for (AsyncSubscriber& subscriber : idle) subscriber.Cancel();
  reader_done.wait();
  done.wait();
  EXPECT_TRUE(Eventually([&] { return Gauge("sluice_log_stream_bytes") == 0; }));
}

TEST_F(StreamsTest, AViewThatNobodyReadsIsHeldUntilItsCallerGoesAway) {  // invariant 9
  constexpr int kViews = 20;
  const std::string id = NewCollection();
  ASSERT_TRUE(Push(id, std::vector(16, UpsertOf("a", std::string(16'000, 'x')))).ok());
  const auto stub = OverTcp(server_->grpc_address());
  v1::ReadViewRequest request;
  request.set_collection_id(id);
  std::deque<grpc::ClientContext> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<v1::ReadViewResponse>>> views;
  views.reserve(kViews);
  for (int i = 0; i < kViews; ++i) {
    views.push_back(stub->ReadView(&contexts.emplace_back(), request));
  }
  // The one message of each, which ends its call too, does not fit into what may be on its way.
  EXPECT_TRUE(Eventually([&] { return Gauge("sluice_log_stream_bytes") > (1 << 20); }));
  EXPECT_TRUE(Eventually([&] { return Gauge("sluice_log_open_streams") == kViews; }));
  // But one that is read is whole.
  grpc::ClientContext context;
  const auto view = log_->ReadView(&context, request);
  v1::ReadViewResponse message;
  ASSERT_TRUE(view->Read(&message));
  ASSERT_EQ(message.appends_size(), 1);
  EXPECT_EQ(message.appends(0).records_size(), 16);
  EXPECT_FALSE(view->Read(&message));
  EXPECT_TRUE(view->Finish().ok());

  for (int i = 0; i < kViews; ++i) {
    contexts[i].TryCancel();
    EXPECT_EQ(views[i]->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  EXPECT_TRUE(Eventually([&] { return Gauge("sluice_log_open_streams") == 0; }));
  EXPECT_TRUE(Eventually([&] { return Gauge("sluice_log_stream_bytes") == 0; }));
}

TEST_F(StreamsTest, ADeadlineEndsAStream) {
  const std::string id = NewCollection();
  const auto stub = OverTcp(server_->grpc_address());
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(300));
  const auto reader = stub->Subscribe(&context, Earliest(id));
  v1::SubscribeResponse message;
  while (reader->Read(&message)) {
  }
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(Eventually([&] { return Gauge("sluice_log_open_streams") == 0; }));
}

// Passes bytes between one client and the server until it is told to fall silent: then both ends
// are open, and nothing comes any more, as from a machine that is gone or a process that is
// stopped.
class Relay {
 public:
  explicit Relay(const std::string& server) {
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = Loopback(0);
    socklen_t length = sizeof(address);
    EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address), length), 0);
    EXPECT_EQ(listen(listener_, 1), 0);
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length);
    address_ = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
    thread_ = std::jthread([this, port = server::ParseAddress(server)->port](
                               const std::stop_token& stop) { Run(stop, port); });
  }
  ~Relay() {
    thread_ = {};
    for (const int fd : {listener_, client_, server_}) {
      if (fd >= 0) close(fd);
    }
  }
  const std::string& address() const { return address_; }
  void FallSilent() { silent_ = true; }

 private:
  static sockaddr_in Loopback(uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    return address;
  }
  void Run(const std::stop_token& stop, uint16_t port) {
    client_ = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    server_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in address = Loopback(port);
    EXPECT_EQ(connect(server_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    while (!stop.stop_requested() && !silent_) {
      pollfd ends[] = {{client_, POLLIN, 0}, {server_, POLLIN, 0}};
      if (poll(ends, 2, /*ms=*/20) <= 0) continue;
      for (int from = 0; from < 2; ++from) {
        if (ends[from].revents != 0 && !Pass(ends[from].fd, ends[1 - from].fd)) return;
      }
    }
  }
  static bool Pass(int from, int to) {
    char bytes[1 << 16];
    const ssize_t got = recv(from, bytes, sizeof(bytes), 0);
    return got > 0 && send(to, bytes, static_cast<size_t>(got), MSG_NOSIGNAL) == got;
  }

  int listener_ = -1;
  std::string address_;
  // By the thread alone while it runs.
  int client_ = -1;
  int server_ = -1;
  std::atomic<bool> silent_ = false;
  std::jthread thread_;
};

class ShortKeepaliveTest : public StreamsTest {
 protected:
  ShortKeepaliveTest() {
    common_.keepalive_ms = 200;
    common_.keepalive_timeout_ms = 200;
  }
};

TEST_F(ShortKeepaliveTest, AConnectionThatFellSilentIsClosedAndItsStreamsEnd) {  // invariant 9
  const std::string id = NewCollection();
  Relay relay(server_->grpc_address());
  const auto stub = OverTcp(relay.address());
  grpc::ClientContext context;
  const auto reader = stub->Subscribe(&context, Earliest(id));
  v1::SubscribeResponse message;
  ASSERT_TRUE(reader->Read(&message));
  ASSERT_TRUE(Eventually([&] { return Gauge("sluice_log_open_streams") == 1; }));
  relay.FallSilent();
  EXPECT_TRUE(Eventually([&] { return Gauge("sluice_log_open_streams") == 0; }));
  context.TryCancel();
  reader->Finish();
}

class ShortConnectionTest : public StreamsTest {
 protected:
  ShortConnectionTest() {
    common_.max_connection_age_seconds = 1;
    common_.max_connection_age_grace_seconds = 1;
  }
};

TEST_F(ShortConnectionTest, AStreamBeyondTheConnectionsAgeIsCutSoThatItsClientConnectsAnew) {
  const std::string id = NewCollection();
  const auto stub = OverTcp(server_->grpc_address());
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
  const auto reader = stub->Subscribe(&context, Earliest(id));
  v1::SubscribeResponse message;
  while (reader->Read(&message)) {
  }
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  // The next call finds its way.
  grpc::ClientContext again;
  again.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
  EXPECT_TRUE(stub->Subscribe(&again, Earliest(id))->Read(&message));
  again.TryCancel();
}

}  // namespace
}  // namespace sluice::log
