/* comm_internal.h - a comm as its own files see it: comm.c sends bytes, comm_tensors.c tensors through host memory,
 * comm_device.c tensors between devices.
 */
#ifndef SA2_RUNTIME_SERVING_COMM_INTERNAL_H
#define SA2_RUNTIME_SERVING_COMM_INTERNAL_H

#include "kernels/base/arena.h"
#include "kernels/stream.h"
#include "runtime/serving/comm.h"
#include "runtime/serving/comm_nccl.h"

enum { SA2_LEAVING_MS = 2000 }; /* that ranks wait for each other at the end */

struct sa2_comm {
    sa2_link link;
    int64_t timeout_ms;
    bool one_machine;
    bool failed;       /* the ranks are no longer in step */
    sa2_error failure; /* why */
    sa2_arena memory;
    float *room; /* all of it: [size + 2, summed], x, part, and the parts of all; or [joined] */
    int64_t summed, joined;
    sa2_nccl *nccl; /* NULL: tensors go through host memory */
    sa2_message with[SA2_MAX_RANKS];
};

/* An exchange of c->with, which is called `place` in messages. exact: messages fill their room. */
sa2_status sa2_comm_exchange(sa2_comm *c, sa2_comm_place place, bool exact, int64_t timeout_ms,
                             sa2_error *err);
void sa2_comm_clear_messages(sa2_comm *c);

/* Sets the messages of what rank 0 sends to all: n bytes of data there, at most `room` elsewhere. */
void sa2_comm_set_copy(sa2_comm *c, void *data, size_t n, size_t room);

void sa2_comm_fail_stream(sa2_stream *s, sa2_status st, const sa2_error *err);

/* sa2_comm_sum() and the others where c->nccl is there. Of a join, the parts are then in c->room on rank 0. */
void sa2_comm_device_sum(sa2_comm *c, sa2_stream *s, sa2_tensor x, sa2_tensor part,
                         sa2_comm_place place);
void sa2_comm_device_copy(sa2_comm *c, sa2_stream *s, sa2_tensor x, sa2_comm_place place);
void sa2_comm_device_join(sa2_comm *c, sa2_stream *s, sa2_tensor part, const int64_t *widths,
                          sa2_comm_place place);

#endif
