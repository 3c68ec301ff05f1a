# SPDX-License-Identifier: Apache-2.0
"""A map in the browser: looked at, asked, and watched while it grows. The one owner of viser.

splats, colouring      what is drawn, as arrays
cameras, picking       where to look from, what a click means
subject                one version of a map, with all that it takes to ask it
watcher                follows the map directory: a new version is a new subject
stage, panel, eye      the scene, the controls and the camera of one browser tab
page                   one tab: what its controls say becomes what its scene shows
server                 the port that tabs connect to
"""
