// Many streams of one model, which join, leave, and advance together in one batch, all or some of them.
#pragma once

#include <cstdint>
#include <vector>

#include "lstmcore/stream.h"

namespace lstmcore {

// Each stream has an id: 0, 1, 2, ... in the order of joining, never given twice. Every stream's outputs are
// the bits that it would get alone. Not safe to share between threads.
template <class T>
class StreamBank {
 public:
  // With memory for `capacity` streams; more may join. Throws as Stream.
  explicit StreamBank(Layers<T> layers, std::int64_t capacity = 0);

  std::int64_t input_size() const { return batch_.input_size(); }
  std::int64_t output_size() const { return batch_.output_size(); }
  std::int64_t state_size() const { return batch_.state_size(); }
  std::int64_t size() const { return static_cast<std::int64_t>(members_.size()); }
  std::int64_t id(std::int64_t position) const { return members_[static_cast<std::size_t>(position)].id; }

  // A new stream from a state of S values, or from zeros. Returns its id. Throws std::bad_alloc, and has
  // changed nothing then.
  std::int64_t join(const T* state = nullptr);

  // These throw std::out_of_range for an id that is not in the bank.
  void leave(std::int64_t id);
  const T* state(std::int64_t id) const;  // S values
  void set_state(std::int64_t id, const T* state);

  // One step of the n streams `ids`, in that order: x [n, I] -> out [n, P], both dense and not overlapping.
  // Allocates nothing where a step of as many streams was taken before. Throws, before any state is changed,
  // std::out_of_range for an id that is not in the bank, std::invalid_argument for one that comes twice,
  // std::bad_alloc, and Interrupted.
  void step(std::int64_t n, const std::int64_t* ids, const T* x, T* out,
            Interruption* interruption = nullptr);

  // The same for all streams, in the order of joining.
  void step_all(const T* x, T* out, Interruption* interruption = nullptr);

  std::size_t trim() { return batch_.trim(); }  // as Stream::trim

 private:
  struct Member {
    std::int64_t id, slot;
  };
  typename std::vector<Member>::const_iterator find(std::int64_t id) const;
  void step_chosen(std::int64_t n, const T* x, T* out, Interruption* interruption);
  void reserve(std::int64_t streams);
  T* slot(std::int64_t index) { return states_.data() + index * state_size(); }
  const T* slot(std::int64_t index) const { return states_.data() + index * state_size(); }

  Stream<T> batch_;                         // gets the states of those that take a step
  std::vector<Member> members_;             // ascending ids
  std::vector<std::int64_t> free_;          // slots without a stream
  std::vector<T> states_;                   // [slots, S]
  std::vector<std::int64_t> chosen_;        // slots of those that take a step
  std::vector<std::uint64_t> last_chosen_;  // [slots] number of the choice that the slot was last in
  std::uint64_t choices_ = 0;
  std::int64_t next_id_ = 0, slots_ = 0;
};

}  // namespace lstmcore
