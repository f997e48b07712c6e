/* check_flow.h - what the golden cases of the flow share: a part of it on a device, with the case's own weights.
 */
#ifndef SA2_TOOLS_CHECK_FLOW_H
#define SA2_TOOLS_CHECK_FLOW_H

#include "loader/tensor_map.h"
#include "runtime/token2wav/flow.h"
#include "tools/check_case.h"

enum {
    SA2_CHECK_FLOW_TOKENS = 15000, /* of a case: ten minutes */
    SA2_CHECK_FLOW_CHUNKS = 1000,
    SA2_CHECK_FLOW_LAYER = 1, /* the one that is looked at alone: of encoder layers and of blocks */
};

typedef struct sa2_check_flow {
    sa2_check_run *run;
    sa2_flow_config config;
    sa2_tensor_map *map;
    sa2_dtype dtype;
    sa2_check_device device;
    sa2_arena weights, layers, host;
    sa2_flow_room room;
} sa2_check_flow;

/* Opens what a case needs, runs it, closes it. */
sa2_status sa2_check_flow_run(sa2_check_run *run,
                              sa2_status (*part)(sa2_check_flow *b, sa2_error *err),
                              sa2_error *err);

/* Loads one of the parts: its own sa2_..._load(), given `part` and, of the DiT alone, its timesteps. */
typedef struct sa2_check_flow_part {
    void (*load)(struct sa2_check_flow_part *part, const sa2_check_flow *b, sa2_weights *w);
    int max_tokens;
    const double *t;
    int n_steps;
    sa2_flow_encoder encoder;
    sa2_flow_dit dit;
    sa2_flow flow;
} sa2_check_flow_part;
sa2_status sa2_check_flow_load(sa2_check_flow *b, sa2_check_flow_part *part, sa2_error *err);

/* Room for a forward, `floats` in 32 tensors and `bytes` of caches beside it. */
sa2_status sa2_check_flow_room(sa2_check_flow *b, sa2_flow_room_bytes need, int64_t floats,
                               size_t bytes, sa2_error *err);

/* f32 [rows, cols] of the device; the same with values. */
sa2_tensor sa2_check_flow_take(sa2_check_flow *b, int64_t rows, int64_t cols);
sa2_tensor sa2_check_flow_upload(sa2_check_flow *b, sa2_tensor host);

sa2_status sa2_check_flow_judge(sa2_check_flow *b, const char *name, sa2_tensor found,
                                sa2_error *err);
sa2_status sa2_check_flow_judge_vector(sa2_check_flow *b, const char *name, sa2_tensor found,
                                       sa2_error *err);

/* Inputs that must be there: f32 [rows or any, cols]; [n or any up to `most`]. Not empty. */
sa2_status sa2_check_flow_rows(const sa2_check_flow *b, const char *name, int64_t rows,
                               int64_t cols, sa2_tensor *x, sa2_error *err);
sa2_status sa2_check_flow_vector(const sa2_check_flow *b, const char *name, sa2_dtype dtype,
                                 int64_t n, int64_t most, sa2_tensor *x, sa2_error *err);

/* in.tokens and in.chunks, which must cover them. */
typedef struct sa2_check_flow_cut {
    const int32_t *tokens, *chunks;
    int n_tokens, n_chunks;
} sa2_check_flow_cut;
sa2_status sa2_check_flow_chunks(const sa2_check_flow *b, sa2_check_flow_cut *cut, sa2_error *err);

#endif
