# SPDX-License-Identifier: Apache-2.0
"""The constants that every rasterizer shares, so that they draw the same picture; as in gsplat 1.5."""

TILE = 16  # pixels; side of the square blocks that Gaussians are sorted into
NEAR = 0.01  # metres; nearer Gaussians are not drawn
ALPHA_MIN = 1.0 / 255.0  # a fainter contribution to a pixel is left out
ALPHA_MAX = 0.999  # keeps 1 - alpha away from 0 in the backward
TRANSMITTANCE_MIN = 1e-4  # the Gaussian that would bring a pixel to this or less ends it, undrawn
BLUR_2D = 0.3  # square pixels added to the projected covariance, so that nothing is thinner than a pixel
MAX_SIGMAS = 3.33  # standard deviations; a projected Gaussian ends here at the latest
FOV_MARGIN = 0.3  # of the half field of view; the projection is linearised no farther out than this
