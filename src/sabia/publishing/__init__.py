"""From a trained estimator to a draft of a version: conversion, parity, evaluation, reference, card."""
