/* matrix_cut.c - parts of a matrix as a matrix of their own, bit for bit: `cut` of kernels/layout.h.
 *
 * All orders but that of i4, which has its own, have 16 rows side by side in words of 32 bits: one f32 column, two of bf16, four of i8 or
 * e4m3. So a cut moves words, whatever they hold, and the steps of i8 or the powers of e4m3 behind them.
 */
#include <string.h>

#include "kernels/cpu/matrix_e4m3.h"
#include "kernels/cpu/matrix_i8.h"

enum { WORD = 4 };

static int64_t cols_of_word(sa2_dtype dtype)
{
    return dtype == SA2_F32 ? 1 : dtype == SA2_BF16 ? 2 : 4;
}

static int64_t words_of_row(const sa2_matrix *w)
{
    int64_t padded =
        w->dtype == SA2_I8 ? sa2_i8_padded(w->cols) : sa2_matrix_padded(w->dtype, w->cols);
    return padded / cols_of_word(w->dtype);
}

static char *word_at(const sa2_matrix *w, int64_t place, int64_t word)
{
    int64_t at = (place / SA2_BLOCK * words_of_row(w) + word) * SA2_BLOCK + place % SA2_BLOCK;
    return (char *)w->data + at * WORD;
}

/* Of all groups of `to`, which begins with group `first` of `from`. */
static void cut_powers(const sa2_matrix *to, int64_t to_place, const sa2_matrix *from,
                       int64_t place, int64_t n, int64_t first)
{
    uint8_t *out = sa2_e4m3_powers(to, to_place / SA2_BLOCK) + to_place % SA2_BLOCK;
    const uint8_t *in = sa2_e4m3_powers(from, place / SA2_BLOCK) + place % SA2_BLOCK;
    for (int64_t g = 0; g < sa2_e4m3_groups(to->cols); g++)
        memcpy(out + g * SA2_BLOCK, in + (first + g) * SA2_BLOCK, (size_t)n);
}

/* n rows that lie in one block on both sides. */
static void cut_rows(const sa2_matrix *to, int64_t to_place, const sa2_matrix *from, int64_t place,
                     int64_t n, int64_t first_word, int64_t words)
{
    char *out = word_at(to, to_place, 0);
    const char *in = word_at(from, place, first_word);
    const size_t line = SA2_BLOCK * WORD;
    if (n == SA2_BLOCK)
        memcpy(out, in, (size_t)words * line);
    for (int64_t k = 0; n < SA2_BLOCK && k < words; k++)
        memcpy(out + (size_t)k * line, in + (size_t)k * line, (size_t)n * WORD);
    if (to->dtype == SA2_E4M3)
        cut_powers(to, to_place, from, place, n, first_word * 4 / SA2_E4M3_GROUP);
    if (to->dtype != SA2_I8)
        return;
    memcpy(sa2_i8_steps(to, to_place / SA2_BLOCK) + to_place % SA2_BLOCK,
           sa2_i8_steps(from, place / SA2_BLOCK) + place % SA2_BLOCK, (size_t)n * sizeof(float));
}

/* Cuts begin at multiples of them, and end there or with the matrix. */
static int64_t cols_of_unit(sa2_dtype dtype)
{
    return dtype == SA2_E4M3 ? SA2_E4M3_GROUP : cols_of_word(dtype);
}

bool sa2_cpu_matrix_cut(sa2_matrix *to, const sa2_matrix *from, const sa2_cut *cut)
{
    int64_t unit = cols_of_unit(to->dtype), word = cols_of_word(to->dtype);
    bool to_the_end = cut->col + to->cols == from->cols;
    if (cut->col % unit != 0 || (to->cols % unit != 0 && !to_the_end))
        return false;
    int64_t words = (to->cols + word - 1) / word;
    for (int64_t i = 0, n; i < cut->n; i += n) {
        int64_t place = sa2_matrix_place(cut->half, cut->row + i);
        int64_t to_place = sa2_matrix_place(cut->half, cut->to_row + i);
        n = sa2_matrix_together(place, to_place, cut->n - i);
        cut_rows(to, to_place, from, place, n, cut->col / word, words);
    }
    return true;
}
