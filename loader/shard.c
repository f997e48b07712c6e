#include "loader/shard.h"

#include <assert.h>
#include <string.h>

/* The rank's part of n things, the first ranks having one more where it does not come out even. */
static sa2_slice deal(int64_t n, int rank, int size)
{
    int64_t each = n / size, more = n % size;
    return (sa2_slice){.first = rank * each + (rank < more ? rank : more),
                       .n = each + (rank < more ? 1 : 0),
                       .whole = n};
}

static sa2_slice times(sa2_slice slice, int64_t n)
{
    return (sa2_slice){slice.first * n, slice.n * n, slice.whole * n};
}

/* The same in whole units; the last one may be cut. */
static sa2_slice deal_units(int64_t n, int rank, int size)
{
    sa2_slice units = deal((n + SA2_SHARD_UNIT - 1) / SA2_SHARD_UNIT, rank, size);
    int64_t first = units.first * SA2_SHARD_UNIT, end = first + units.n * SA2_SHARD_UNIT;
    return (sa2_slice){.first = first, .n = (end < n ? end : n) - first, .whole = n};
}

static sa2_status need_units(int64_t n, int size, const char *what, sa2_error *err)
{
    int64_t units = (n + SA2_SHARD_UNIT - 1) / SA2_SHARD_UNIT;
    return units >= size
               ? SA2_OK
               : sa2_fail(err, SA2_ERR_UNSUPPORTED,
                          "%d ranks: %lld %s are dealt in units of %d, which is enough for "
                          "%lld ranks at the most",
                          size, (long long)n, what, SA2_SHARD_UNIT, (long long)units);
}

sa2_status sa2_shard_make(sa2_shard *shard, const sa2_decoder_config *c, int rank, int size,
                          sa2_error *err)
{
    assert(rank >= 0 && rank < size);
    if (c->kv_heads % size != 0)
        return sa2_fail(err, SA2_ERR_UNSUPPORTED,
                        "%d ranks: a number that divides the model's %d key-value heads expected, "
                        "because keys and values of a head belong to one rank",
                        size, c->kv_heads);
    sa2_status st = need_units(c->ffn, size, "feed-forward columns", err);
    if (st == SA2_OK)
        st = need_units(c->vocab, size, "vocabulary rows", err);
    if (st != SA2_OK)
        return st;
    sa2_slice kv_heads = deal(c->kv_heads, rank, size);
    int64_t group = c->heads / c->kv_heads;
    *shard = (sa2_shard){.rank = rank,
                         .size = size,
                         .head_dim = c->head_dim,
                         .heads = times(kv_heads, group),
                         .kv_heads = kv_heads,
                         .ffn = deal_units(c->ffn, rank, size),
                         .vocab = deal_units(c->vocab, rank, size)};
    return SA2_OK;
}

sa2_decoder_config sa2_shard_config(const sa2_shard *shard, const sa2_decoder_config *config)
{
    sa2_decoder_config c = *config;
    if (shard->size > 1) {
        c.heads = (int)shard->heads.n;
        c.kv_heads = (int)shard->kv_heads.n;
        c.ffn = (int)shard->ffn.n;
    }
    return c;
}

int64_t sa2_shard_vocab(const sa2_shard *shard, const sa2_decoder_config *config)
{
    return shard->size > 1 ? shard->vocab.n : config->vocab;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

bool sa2_shard_find(const sa2_shard *shard, const char *tensor, sa2_tensor_slice *out)
{
    const sa2_slice q = times(shard->heads, shard->head_dim);
    const sa2_slice kv = times(shard->kv_heads, shard->head_dim);
    const struct {
        const char *end;
        sa2_tensor_slice slice;
    } rules[] = {
        {".self_attn.q_proj.weight", {0, q}},     {".self_attn.q_proj.bias", {0, q}},
        {".self_attn.k_proj.weight", {0, kv}},    {".self_attn.k_proj.bias", {0, kv}},
        {".self_attn.v_proj.weight", {0, kv}},    {".self_attn.v_proj.bias", {0, kv}},
        {".self_attn.o_proj.weight", {1, q}},     {".mlp.gate_proj.weight", {0, shard->ffn}},
        {".mlp.up_proj.weight", {0, shard->ffn}}, {".mlp.down_proj.weight", {1, shard->ffn}},
        {"lm_head.weight", {0, shard->vocab}},
    };
    for (size_t i = 0; shard->size > 1 && i < sizeof rules / sizeof rules[0]; i++)
        if (ends_with(tensor, rules[i].end)) {
            *out = rules[i].slice;
            return true;
        }
    return false;
}

sa2_tensor sa2_shard_view(const sa2_shard *shard, const char *name, sa2_tensor x)
{
    sa2_tensor_slice part;
    if (x.data == NULL || !sa2_shard_find(shard, name, &part))
        return x;
    return part.axis == 0 ? sa2_tensor_rows(x, part.slice.first, part.slice.n)
                          : sa2_tensor_cols(x, part.slice.first, part.slice.n);
}
