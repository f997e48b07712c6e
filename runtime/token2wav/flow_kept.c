#include "runtime/token2wav/flow_kept.h"

/* Generated frames are numbered from the far end of the reference's list: the last frame of the
 * first chunk is 0, and the first frame of the newest chunk is frames - 1. */

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* How many of the first generated frames stay because the prompt does not fill the tail. */
static int first_kept(const sa2_flow_kept *k)
{
    return (int)most(0, k->tail - k->prompt);
}

/* The lowest number in the ring after `frames` frames. */
static int64_t ring_start(const sa2_flow_kept *k, int64_t frames)
{
    return most(first_kept(k), frames - k->prompt);
}

/* Where frame number e lies in the ring: rising numbers at falling rows. */
static int ring_row(const sa2_flow_kept *k, int64_t e)
{
    return k->prompt - 1 - (int)((e - first_kept(k)) % k->prompt);
}

int sa2_flow_kept_rows(const sa2_flow_kept *k)
{
    return k->prompt + first_kept(k);
}

int sa2_flow_kept_count(const sa2_flow_kept *k)
{
    return k->prompt + (int)least(k->frames, k->tail);
}

int sa2_flow_kept_runs(const sa2_flow_kept *k, sa2_flow_run runs[SA2_FLOW_KEPT_RUNS])
{
    int n = 0;
    int64_t start = ring_start(k, k->frames);
    if (k->frames > start) {
        int first = ring_row(k, k->frames - 1), count = (int)(k->frames - start);
        int before_end = (int)least(count, k->prompt - first);
        runs[n++] = (sa2_flow_run){.first = first, .n = before_end};
        if (count > before_end)
            runs[n++] = (sa2_flow_run){.first = 0, .n = count - before_end};
    }
    int early = (int)least(k->frames, first_kept(k));
    if (early > 0)
        runs[n++] = (sa2_flow_run){.first = sa2_flow_kept_rows(k) - early, .n = early};

    bool trimmed = k->frames > k->tail;
    int prefix = trimmed ? (int)most(0, k->prompt - k->frames) : k->prompt;
    int suffix = trimmed ? (int)least(k->prompt, k->tail) : 0;
    if (prefix > 0)
        runs[n++] = (sa2_flow_run){.prompt = true, .first = 0, .n = prefix};
    if (suffix > 0)
        runs[n++] = (sa2_flow_run){.prompt = true, .first = k->prompt - suffix, .n = suffix};
    return n;
}

int sa2_flow_kept_copies(const sa2_flow_kept *k, int n, sa2_flow_copy copies[SA2_FLOW_KEPT_COPIES])
{
    int n_copies = 0;
    int64_t frames = k->frames + n;
    int64_t start = most(ring_start(k, frames), k->frames);
    if (frames > start) { /* the chunk's frames from 0 on */
        int first = ring_row(k, frames - 1), count = (int)(frames - start);
        int before_end = (int)least(count, k->prompt - first);
        copies[n_copies++] = (sa2_flow_copy){.from = 0, .to = first, .n = before_end};
        if (count > before_end)
            copies[n_copies++] =
                (sa2_flow_copy){.from = before_end, .to = 0, .n = count - before_end};
    }
    int early = (int)(least(frames, first_kept(k)) - least(k->frames, first_kept(k)));
    if (early > 0) /* the chunk's last frames */
        copies[n_copies++] = (sa2_flow_copy){
            .from = n - early, .to = sa2_flow_kept_rows(k) - (int)k->frames - early, .n = early};
    return n_copies;
}
