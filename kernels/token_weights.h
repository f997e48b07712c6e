/* token_weights.h - the weights of tokens in numbers that every thread, vector and device computes alike.
 *
 * A weight is 2^y, y <= 0, rounded to a multiple of 2^-40, so that sums are of whole steps and have one result in
 * whatever order they are made. The polynomial is fused products and sums, of one rounding each.
 */
#ifndef SA2_KERNELS_TOKEN_WEIGHTS_H
#define SA2_KERNELS_TOKEN_WEIGHTS_H

/* 2^f for f in [-1/2, 1/2], of the smallest largest relative error of its degree (Remez), 1.6e-8 with f32 coefficients. */
#define SA2_POWER_OF_2_TERMS                                                                       \
    {                                                                                              \
        1.0f, 0.6931471824645996f, 0.24022646248340607f, 0.05550328642129898f,                     \
            0.009618489071726799f, 0.0013399930903688073f, 0.0001534581242594868f                  \
    }

/* Steps in a weight of 1. A vocabulary of 2^22 weighs less than 2^63. */
#define SA2_WEIGHT_STEPS 0x1p40f

/* Floats from here to twice this are one step apart, and above they are whole steps: a lower weight is rounded by adding
 * this and taking it away. */
#define SA2_WEIGHT_COARSE 0x1p-17f

/* Weights below 2^-41 are no step: nothing is lost below the largest logit less this many units of y. */
#define SA2_WEIGHT_REACH 42.0

#endif
