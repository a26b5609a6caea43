"""What comes from outside: video, skeleton files, annotation files, feature stores."""
