/// A dense model as the teacher of routers.
#pragma once

#include <moevit/models/vit.hpp>
#include <moevit/train/checksum.hpp>
#include <moevit/train/router_teacher.hpp>

#include <optional>
#include <span>
#include <string>
#include <vector>

namespace moevit {

/// A trained dense model that shows its tokens behind every block; see RoutingGuidance. The model must live on and stay
/// as it is.
template <class Net>
class ModelTeacher final : public RouterTeacher {
  static_assert(Net::sparse_blocks == 0, "ModelTeacher: the teacher must be a dense model");

 public:
  explicit ModelTeacher(const Net& net) : net_(net) {}

  const VitConfig& config() const override { return config_; }
  const Preprocessing& preprocessing() const override { return net_.preprocessing(); }
  std::string identity() const override { return detail::checksum(net_.parameters()); }
  void reserve(Index images, Index threads) override {
    context_.emplace(net_.context({.images = images, .threads = threads}));
    context_->observer = &outputs_of_blocks_;
    logits_.resize(static_cast<std::size_t>(images * config_.outputs()));
    outputs_of_blocks_.reserve(images);
  }
  void run(std::span<const float> images) override {
    const Index count = std::ssize(images) / config_.image_values();
    if (!context_ || count > context_->images())
      fail("teacher: expected up to ", context_ ? context_->images() : 0, " images, as were reserved, found ", count);
    net_.forward(images, std::span(logits_).first(static_cast<std::size_t>(count * config_.outputs())), *context_);
  }
  ConstMatrixView features(int block) const override { return outputs_of_blocks_.of(block); }

 private:
  static constexpr VitConfig config_ = Net::config;

  /// Keeps a copy of every block's output.
  class BlockOutputs : public Observer {
   public:
    BlockOutputs() : streams_(static_cast<std::size_t>(config_.depth)) {}
    void reserve(Index images) {
      for (auto& stream : streams_) stream.resize(static_cast<std::size_t>(images * config_.tokens() * config_.dim));
    }
    void block_output(int block, ConstMatrixView stream) override {
      rows_ = stream.rows();
      MatrixView(streams_[static_cast<std::size_t>(block)].data(), rows_, config_.dim) = stream;
    }
    ConstMatrixView of(int block) const {
      return {streams_[static_cast<std::size_t>(block)].data(), rows_, config_.dim};
    }

   private:
    std::vector<std::vector<float>> streams_;
    Index rows_ = 0;
  };

  const Net& net_;
  BlockOutputs outputs_of_blocks_;
  std::optional<Context> context_;
  std::vector<float> logits_;
};

}  // namespace moevit
