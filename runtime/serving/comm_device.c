/* comm_device.c - ranks whose tensors go from device to device, by NCCL; they find each other, and tell each other of
 * failures, by the comm's link. */
#include "runtime/serving/comm_internal.h"

/* The ranks say whether they are well, and in what. */
static sa2_status all_well(sa2_comm *c, sa2_status st, bool *well, sa2_error *err)
{
    char mine = st == SA2_OK, all[SA2_MAX_RANKS];
    sa2_status told = sa2_comm_tell_all(c, "NCCL", &mine, all, 1, 0, st == SA2_OK ? err : NULL);
    *well = told == SA2_OK;
    for (int i = 0; i < c->link.size; i++)
        *well = *well && all[i] != 0;
    return told;
}

static sa2_status join_ranks(sa2_comm *c, sa2_backend *backend, sa2_nccl *nccl, sa2_error *err)
{
    char id[SA2_NCCL_ID_BYTES];
    size_t n = sizeof id;
    int64_t parts = c->link.size * c->summed;
    sa2_status st = c->link.rank == 0 ? sa2_nccl_id(nccl, id, err) : SA2_OK;
    if (st != SA2_OK)
        sa2_comm_give_up(c, err);
    if (st == SA2_OK)
        st = sa2_comm_share(c, "NCCL's id", id, sizeof id, &n, false, err);
    if (st != SA2_OK)
        return st;
    st = sa2_nccl_join_ranks(nccl, id, c->link.rank, c->link.size, backend,
                             parts > c->joined ? parts : c->joined, err);
    bool well;
    sa2_status told = all_well(c, st, &well, err);
    if (st == SA2_OK)
        st = told;
    return st == SA2_OK && !well
               ? sa2_fail(err, SA2_ERR_DEVICE, "NCCL: another rank could not join; it says why")
               : st;
}

sa2_status sa2_comm_use_nccl(sa2_comm *c, sa2_backend *backend, const char *library, bool *used,
                             sa2_error *err)
{
    sa2_nccl *nccl = NULL;
    sa2_status there = sa2_nccl_open(&nccl, library, err);
    sa2_status st = all_well(c, there, used, err);
    if (st == SA2_OK && *used)
        st = join_ranks(c, backend, nccl, err);
    if (st == SA2_OK && *used)
        c->nccl = nccl;
    else
        sa2_nccl_close(nccl, false);
    return st;
}

sa2_status sa2_comm_use_device(sa2_comm *c, sa2_backend *backend, sa2_stream *s, sa2_error *err)
{
    void *queue;
    bool idle, used;
    sa2_stream_poll(s, &queue, &idle);
    return c != NULL && queue != NULL ? sa2_comm_use_nccl(c, backend, "libnccl.so.2", &used, err)
                                      : SA2_OK;
}

void sa2_comm_leave_device(sa2_comm *c)
{
    if (c == NULL)
        return;
    sa2_nccl_close(c->nccl, !c->failed);
    c->nccl = NULL;
}

/* Whether a call of the device may be made at all. */
static bool may_go(sa2_comm *c, sa2_stream *s)
{
    if (s->status != SA2_OK)
        sa2_comm_give_up(c, &s->error);
    else if (c->failed)
        sa2_comm_fail_stream(s, SA2_ERR_DEVICE, &c->failure);
    return s->status == SA2_OK;
}

/* A call of the device has not worked: the others must hear of it. */
static void fail_call(sa2_comm *c, sa2_stream *s, sa2_comm_place place, sa2_status st,
                      sa2_error *err)
{
    if (st == SA2_OK)
        return;
    sa2_wrap(err, st, "%s", place.what);
    sa2_comm_give_up(c, err);
    sa2_comm_fail_stream(s, st, &c->failure);
}

/* The device has not come to an end: whoever does not answer on the other way either is to blame. */
static void fail_late(sa2_comm *c, sa2_stream *s, sa2_comm_place place)
{
    char mine = 0, all[SA2_MAX_RANKS];
    sa2_error err = {0};
    sa2_status st = sa2_comm_tell_all(c, place.what, &mine, all, 1, SA2_LEAVING_MS, &err);
    if (st == SA2_OK) {
        st = sa2_fail(&err, SA2_ERR_DEVICE, "the devices had not finished in %.1f s",
                      (double)c->timeout_ms * 1e-3);
        fail_call(c, s, place, st, &err);
    }
    sa2_comm_fail_stream(s, st, &c->failure);
}

void sa2_comm_wait(sa2_comm *c, sa2_stream *s, sa2_comm_place place)
{
    sa2_error err = {0};
    bool late = false;
    if (c == NULL || c->nccl == NULL || !may_go(c, s))
        return;
    fail_call(c, s, place, sa2_nccl_wait(c->nccl, s, c->timeout_ms, &late, &err), &err);
    if (late)
        fail_late(c, s, place);
}

void sa2_comm_device_sum(sa2_comm *c, sa2_stream *s, sa2_tensor x, sa2_tensor part,
                         sa2_comm_place place)
{
    sa2_error err = {0};
    if (may_go(c, s))
        fail_call(c, s, place, sa2_nccl_sum(c->nccl, s, x, part, &err), &err);
}

void sa2_comm_device_copy(sa2_comm *c, sa2_stream *s, sa2_tensor x, sa2_comm_place place)
{
    sa2_error err = {0};
    if (may_go(c, s))
        fail_call(c, s, place, sa2_nccl_copy(c->nccl, s, x, &err), &err);
}

void sa2_comm_device_join(sa2_comm *c, sa2_stream *s, sa2_tensor part, const int64_t *widths,
                          sa2_comm_place place)
{
    int64_t counts[SA2_MAX_RANKS];
    sa2_tensor all = {0};
    sa2_error err = {0};
    for (int r = 0; r < c->link.size; r++)
        counts[r] = part.shape[0] * widths[r];
    if (!may_go(c, s))
        return;
    fail_call(c, s, place, sa2_nccl_collect(c->nccl, s, part, counts, &all, &err), &err);
    sa2_comm_wait(c, s, place);
    if (c->link.rank > 0)
        return;
    sa2_download(s, c->room, all);
    sa2_status st = sa2_stream_finish(s, &err);
    if (st != SA2_OK)
        sa2_comm_fail_stream(s, st, &err);
}
