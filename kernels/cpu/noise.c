/* noise.c - contract: sa2_normal() in kernels/ops.h.
 *
 * A block of the counter gives four words, they give four numbers. Blocks are made side by side, so
 * that the compiler does several at once.
 */
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/floats.h"
#include "kernels/cpu/row_loop.h"

enum {
    BLOCKS = 64, /* at a time */
    WORDS = 4,
    ROUNDS = 10,
    PURPOSE = 1, /* last word of the counter: apart from numbers drawn for anything else */
};

/* Salmon et al. 2011, table 2, and section 3.3 for what is added to the key each round: the golden
 * ratio and sqrt(3) - 1. */
static const uint32_t multiplier[2] = {0xD2511F53u, 0xCD9E8D57u};
static const uint32_t key_step[2] = {0x9E3779B9u, 0xBB67AE85u};

/* Word w of block b is x[w][b]. */
static void one_round(uint32_t x[WORDS][BLOCKS], uint32_t key0, uint32_t key1)
{
    for (int b = 0; b < BLOCKS; b++) {
        uint64_t p = (uint64_t)multiplier[0] * x[0][b], q = (uint64_t)multiplier[1] * x[2][b];
        uint32_t x1 = x[1][b], x3 = x[3][b];
        x[0][b] = (uint32_t)(q >> 32) ^ x1 ^ key0;
        x[1][b] = (uint32_t)q;
        x[2][b] = (uint32_t)(p >> 32) ^ x3 ^ key1;
        x[3][b] = (uint32_t)p;
    }
}

static void make_words(uint32_t x[WORDS][BLOCKS], uint64_t seed, uint32_t track, uint64_t block)
{
    for (int b = 0; b < BLOCKS; b++) {
        x[0][b] = (uint32_t)(block + (uint64_t)b);
        x[1][b] = (uint32_t)((block + (uint64_t)b) >> 32);
        x[2][b] = track;
        x[3][b] = PURPOSE;
    }
    uint32_t key0 = (uint32_t)seed, key1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < ROUNDS; round++) {
        one_round(x, key0, key1);
        key0 += key_step[0];
        key1 += key_step[1];
    }
}

typedef struct normals {
    const sa2_floats *floats;
    float *y;
    int64_t n;
    uint64_t seed;
    uint32_t track;
    int64_t first;
} normals;

/* The numbers of BLOCKS blocks: words 0 and 1 make numbers 0 and 1 of a block, 2 and 3 the others. */
static void make_numbers(const normals *job, int64_t block, float out[WORDS * BLOCKS])
{
    uint32_t words[WORDS][BLOCKS];
    make_words(words, job->seed, job->track, (uint64_t)block);
    for (int pair = 0; pair < WORDS; pair += 2) {
        float u[BLOCKS], v[BLOCKS], a[BLOCKS], b[BLOCKS];
        for (int i = 0; i < BLOCKS; i++) { /* 24 bits each: u in (0, 1], v in [0, 1) */
            u[i] = (float)(int32_t)((words[pair][i] >> 8) + 1) * 0x1p-24f;
            v[i] = (float)(int32_t)(words[pair + 1][i] >> 8) * 0x1p-24f;
        }
        job->floats->box_muller(a, b, u, v, BLOCKS);
        for (int i = 0; i < BLOCKS; i++) {
            out[i * WORDS + pair] = a[i];
            out[i * WORDS + pair + 1] = b[i];
        }
    }
}

/* Groups [begin, end) of BLOCKS blocks, counted from number 0 of the sequence. */
static void run_groups(const void *context, int64_t begin, int64_t end)
{
    const normals *job = context;
    int64_t group_size = WORDS * BLOCKS, first_group = job->first / group_size;
    for (int64_t g = first_group + begin; g < first_group + end; g++) {
        float numbers[WORDS * BLOCKS];
        make_numbers(job, g * BLOCKS, numbers);
        int64_t low = g * group_size > job->first ? g * group_size : job->first;
        int64_t high = (g + 1) * group_size, last = job->first + job->n;
        high = high < last ? high : last;
        memcpy(job->y + (low - job->first), numbers + (low - g * group_size),
               (size_t)(high - low) * sizeof *numbers);
    }
}

sa2_status sa2_cpu_normal(sa2_stream *s, sa2_tensor y, uint64_t seed, uint32_t track, int64_t first,
                          sa2_error *err)
{
    (void)err;
    normals job = {.floats = sa2_cpu_of(s)->floats,
                   .y = y.data,
                   .n = sa2_tensor_count(&y),
                   .seed = seed,
                   .track = track,
                   .first = first};
    int64_t size = WORDS * BLOCKS;
    int64_t groups = job.n == 0 ? 0 : (first + job.n - 1) / size - first / size + 1;
    sa2_row_loop(sa2_cpu_of(s), groups, 4.0 * (double)size, run_groups, &job);
    return SA2_OK;
}
