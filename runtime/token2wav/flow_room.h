/* flow_room.h - the memory that a forward of the flow works in: activations where the ops run, and
 * lists of rows that are made on the host. Both are measured and taken by the same calls.
 */
#ifndef SA2_RUNTIME_TOKEN2WAV_FLOW_ROOM_H
#define SA2_RUNTIME_TOKEN2WAV_FLOW_ROOM_H

#include "kernels/backend.h"
#include "runtime/work.h"

/* Given to a forward, which rewinds both before it returns. */
typedef struct sa2_flow_room {
    sa2_arena *work; /* memory of the backend */
    sa2_arena *host;
} sa2_flow_room;

/* What such a forward needs; `scratch` is the stream's. */
typedef struct sa2_flow_room_bytes {
    size_t work, host, scratch;
} sa2_flow_room_bytes;

static inline size_t sa2_larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* The room of two forwards that run one after the other. */
static inline sa2_flow_room_bytes sa2_flow_room_larger(sa2_flow_room_bytes a, sa2_flow_room_bytes b)
{
    return (sa2_flow_room_bytes){.work = sa2_larger(a.work, b.work),
                                 .host = sa2_larger(a.host, b.host),
                                 .scratch = sa2_larger(a.scratch, b.scratch)};
}

/* One forward's taking, or its measure: all zero. */
typedef struct sa2_flow_taking {
    sa2_work work, host;
    size_t work_mark, host_mark;
} sa2_flow_taking;

static inline sa2_flow_taking sa2_flow_room_open(const sa2_flow_room *room)
{
    return (sa2_flow_taking){.work = {.arena = room->work},
                             .host = {.arena = room->host},
                             .work_mark = sa2_arena_mark(room->work),
                             .host_mark = sa2_arena_mark(room->host)};
}

static inline void sa2_flow_room_close(const sa2_flow_taking *taking)
{
    sa2_arena_rewind(taking->work.arena, taking->work_mark);
    sa2_arena_rewind(taking->host.arena, taking->host_mark);
}

/* SA2_ERR_NOMEM when something did not fit; then everything is given back. */
static inline sa2_status sa2_flow_room_judge(const sa2_flow_taking *taking, const char *what,
                                             sa2_error *err)
{
    if (!taking->work.full && !taking->host.full)
        return SA2_OK;
    sa2_flow_room_close(taking);
    return sa2_fail(err, SA2_ERR_NOMEM, "%s: %zu bytes of work memory and %zu on the host needed",
                    what, taking->work.bytes, taking->host.bytes);
}

/* Row numbers: filled on the host, then uploaded for ops that pick rows. */
typedef struct sa2_row_list {
    int32_t *rows; /* host [n]; NULL while measuring */
    sa2_tensor on_device;
} sa2_row_list;

static inline sa2_row_list sa2_row_list_take(sa2_flow_taking *taking, int64_t n)
{
    sa2_tensor host = sa2_work_take(&taking->host, SA2_I32, 1, n);
    sa2_tensor device = sa2_work_take(&taking->work, SA2_I32, 1, n);
    return (sa2_row_list){.rows = host.data, .on_device = sa2_tensor_1d(device.data, SA2_I32, n)};
}

static inline void sa2_row_list_upload(sa2_stream *s, const sa2_row_list *list)
{
    sa2_upload(s, list->on_device, list->rows);
}

#endif
